"""Restarts under load: what clients see that keep their connections, alone and through a proxy."""

import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from programs import Server, free_port, run, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

CLIENTS = 8
ADMIN = {"ADMIN_USERNAME": "root", "ADMIN_EMAIL": "root@example.org", "ADMIN_PASSWORD": "correct horse battery"}
RESTARTS = 10

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, fresh_database_url: str) -> Iterator[Start]:
    servers: list[Server] = []

    def start_server(command: str, **settings: str) -> Server:
        server = Server(
            tmp_path,
            command,
            database_url=fresh_database_url,
            WEB_CONCURRENCY="1",
            DRAIN_SECONDS="3",
            **ADMIN,
            **settings,
        )
        servers.append(server)
        return server

    yield start_server
    for server in servers:
        server.clean_up()


class Client(threading.Thread):
    """Writes and reads until it is told to end, on one connection for as long as the server keeps it.

    A connection that is refused is tried again: no request was sent yet. Everything else that is no answer is a failure.
    """

    def __init__(self, port: int, token: str) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self.failures: list[str] = []
        self.ends = threading.Event()
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.ends.wait(0.01):
            if connection is None and (connection := self._connected()) is None:
                continue
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            if connection.sock is None:  # as the server asked for
                connection = None
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=40)
        try:
            connection.connect()
        except ConnectionRefusedError:
            connection.close()
            return None
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        method, body = ("GET", None) if self.answers % 2 else ("POST", json.dumps({"title": "one more"}))
        connection.request(method, "/api/v1/tasks/", body, self._headers)
        answer = connection.getresponse()
        answer.read()
        self.answers += 1
        if answer.status not in (200, 201):
            self.failures.append(str(answer.status))


def token_of(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(
        "POST",
        "/api/v1/auth/login/",
        json.dumps({"username": "root", "password": ADMIN["ADMIN_PASSWORD"]}),
        {"Content-Type": "application/json"},
    )
    answer = connection.getresponse().read()
    connection.close()
    token: str = json.loads(answer)["access"]
    return token


def under_load(port: int, restarts: Iterator[object]) -> list[Client]:
    """Clients that have been at work during all of these restarts, and some requests before and after each."""
    token = token_of(port)
    clients = [Client(port, token) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for _ in restarts:
        before = [client.answers for client in clients]
        until(
            lambda before=before: all(client.answers > count + 4 for client, count in zip(clients, before, strict=True))
        )
    for client in clients:
        client.ends.set()
    for client in clients:
        client.join(60)
    return clients


def failures(clients: list[Client]) -> list[str]:
    return [failure for client in clients for failure in client.failures]


def test_no_request_fails_while_one_server_restarts_ten_times(start: Start) -> None:
    server = start("serve")
    server.wait_until_it_answers()

    def restarts() -> Iterator[object]:
        current = server
        for _ in range(RESTARTS):
            yield None
            assert current.stop() == 0
            current = start("serve", PORT=str(server.port))
            current.wait_until_it_answers()
        yield None

    assert failures(under_load(server.port, restarts())) == []


PROXY = """
global
    maxconn 100
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout check 10s
    retries 3
    option redispatch
frontend all
    bind 127.0.0.1:{port}
    default_backend duely
backend duely
    option httpchk GET /readyz
    default-server check inter 1s fall 2 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Callable[[int, int], int]]:
    """Starts HAProxy in front of two ports. Returns its own port."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("HAProxy is not installed: apt-get install haproxy")
    processes: list[subprocess.Popen[bytes]] = []

    def start_proxy(one: int, two: int) -> int:
        port = free_port()
        (tmp_path / "haproxy.cfg").write_text(PROXY.format(port=port, one=one, two=two))
        processes.append(subprocess.Popen([program, "-db", "-f", str(tmp_path / "haproxy.cfg")]))
        return port

    yield start_proxy
    for process in processes:
        process.terminate()
        process.wait(20)


def answers_through(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_no_request_fails_while_two_nodes_behind_a_proxy_restart_by_turns(
    start: Start, haproxy: Callable[[int, int], int], tmp_path: Path, fresh_database_url: str
) -> None:
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    assert run(tmp_path, "createadmin", database_url=fresh_database_url, **ADMIN).returncode == 0
    nodes = [start("web"), start("web")]
    for node in nodes:
        node.wait_until_it_answers()
    port = haproxy(nodes[0].port, nodes[1].port)
    until(lambda: answers_through(port))

    def restarts() -> Iterator[object]:
        for number in range(RESTARTS):
            yield None
            node = nodes[number % 2]
            assert node.stop() == 0
            nodes[number % 2] = start("web", PORT=str(node.port))
            nodes[number % 2].wait_until_it_answers()
            # The other one goes when the proxy has seen that this one is back.
            until(lambda number=number: '"path":"/api/v1/tasks/"' in nodes[number % 2].out.read_text())
        yield None

    assert failures(under_load(port, restarts())) == []
