"""`duely serve` as an operator runs it: a real process, a real port, an empty database."""

import json
import os
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from programs import PATIENCE_SECONDS, Server, alive, children, made_up_password, run, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, fresh_database_url: str) -> Iterator[Start]:
    servers: list[Server] = []

    def start_server(command: str = "serve", **settings: str) -> Server:
        server = Server(tmp_path, command, database_url=fresh_database_url, **settings)
        servers.append(server)
        return server

    yield start_server
    for server in servers:
        server.clean_up()


def sign_in(server: Server, username: str, password: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/v1/auth/login/",
        data=json.dumps({"username": username, "password": password}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        status: int = answer.status
        return status


def test_an_empty_directory_becomes_a_running_service_that_stops_when_asked(start: Start, tmp_path: Path) -> None:
    server = start()
    server.wait_until_it_answers()
    until(lambda: "duely is ready" in server.out.read_text())
    for path in ("/", "/readyz", "/admin/login/", "/static/admin/css/base.css"):
        assert server.get(path) == 200, path
    assert [line for line in server.log() if "rate limits are off for: otp, reset, login" in line["message"]]
    assert not [line for line in server.log() if "Python threads" in line["message"]]
    (ready,) = [line for line in server.log() if line["message"] == "duely is ready"]
    assert ready["docs"] == f"http://127.0.0.1:{server.port}/api/v1/docs/"
    assert sign_in(server, "admin", made_up_password(server.err.read_text())) == 200
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o777 == 0o600
    processes = server.descendants()
    assert len(processes) == 4
    assert server.stop() == 0
    assert not [pid for pid in processes if alive(pid)]
    assert "Traceback" not in server.out.read_text() + server.err.read_text()


def test_all_processes_share_what_the_first_one_has_loaded(start: Start) -> None:
    server = start(PYTHONPROFILEIMPORTTIME="1")
    server.wait_until_it_answers()
    until(lambda: "duely is ready" in server.out.read_text() and "worker started" in server.out.read_text())
    assert server.get("/readyz") == 200
    assert len(server.descendants()) == 4
    imports = [line for line in server.err.read_text().splitlines() if line.startswith("import time:")]
    times = Counter(line.rpartition("|")[2].strip() for line in imports)
    assert times["duely.tasks.endpoints"] == times["duely.jobs.worker"] == times["granian"] == 1
    assert not {name: count for name, count in times.items() if count > 1 and name.startswith(("duely", "django.db"))}
    # With another thread it could not fork safely. Making the first admin takes one.
    assert made_up_password(server.err.read_text())
    assert [path.name for path in Path(f"/proc/{server.pid}/task").iterdir()] == [str(server.pid)]


def test_killed_processes_come_back(start: Start) -> None:
    server = start()
    server.wait_until_it_answers()
    until(lambda: len(server.descendants()) == 4)
    (main,) = [pid for pid in children(server.pid) if children(pid)]
    (worker,) = [pid for pid in children(server.pid) if pid != main]

    one_worker, other_worker = children(main)
    os.kill(one_worker, signal.SIGKILL)
    until(lambda: len(children(main)) == 2 and one_worker not in children(main))
    server.wait_until_it_answers()
    assert alive(other_worker)
    assert set(children(server.pid)) == {main, worker}

    workers = children(main)
    os.kill(main, signal.SIGKILL)
    until(lambda: main not in children(server.pid) and len(server.descendants()) == 4)
    until(lambda: not any(alive(pid) for pid in workers))
    server.wait_until_it_answers()
    assert worker in children(server.pid)

    os.kill(worker, signal.SIGKILL)
    until(lambda: worker not in children(server.pid) and len(server.descendants()) == 4)
    assert server.stop() == 0


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_request_that_is_under_way_is_finished_before_the_stop(start: Start, seconds: int) -> None:
    server = start()
    server.wait_until_it_answers()
    body = json.dumps({"username": "nobody", "password": "wrong"}).encode()
    lines = ["POST /api/v1/auth/login/ HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    head = "\r\n".join([*lines, "Expect: 100-continue", f"Content-Length: {len(body)}", "", ""])
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        # One whole request first: the worker behind this connection is then surely running.
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: b"ok" in connection.recv(4096))
        connection.sendall(head.encode())
        # Said when the body is asked for: the request is under way.
        assert connection.recv(64) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body[:5])
        server.process.send_signal(signal.SIGTERM)
        # Who still waits to be let in is not answered any more; the time to drain goes on meanwhile.
        until(lambda: server.get("/healthz", seconds=1) is None)
        time.sleep(seconds)
        assert server.process.poll() is None
        connection.sendall(body[5:])
        assert connection.recv(64).startswith(b"HTTP/1.1 401 ")
    assert server.process.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_killed_serve_takes_its_processes_with_it(start: Start) -> None:
    server = start()
    server.wait_until_it_answers()
    processes = server.descendants()
    server.process.kill()
    server.process.wait()
    until(lambda: not any(alive(pid) for pid in processes))


def test_a_taken_port_is_told_before_anything_is_made(tmp_path: Path, fresh_database_url: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(tmp_path, "serve", database_url=fresh_database_url, PORT=str(port))
    assert done.returncode == 2
    assert done.stderr == (
        f"duely: port {port} on 127.0.0.1 is taken by another program. Stop it, or choose another: PORT={port + 1}.\n"
    )
    assert done.stdout == ""
    assert not list(tmp_path.glob("*.sqlite3"))


def test_two_that_start_at_once_share_one_database_one_key_and_one_admin(start: Start) -> None:
    first, second = start(), start()
    for server in (first, second):
        server.wait_until_it_answers()
        until(lambda server=server: "duely is ready" in server.out.read_text())
    passwords = [text for server in (first, second) if (text := server.err.read_text())]
    assert len(passwords) == 1
    for server in (first, second):
        assert sign_in(server, "admin", made_up_password(passwords[0])) == 200


def test_the_operators_choice_of_the_first_admin_is_kept_and_never_shown(start: Start) -> None:
    chosen = {"ADMIN_USERNAME": "ada", "ADMIN_EMAIL": "ada@example.org", "ADMIN_PASSWORD": "a long enough sentence"}
    server = start(**chosen)
    server.wait_until_it_answers()
    assert sign_in(server, "ada", "a long enough sentence") == 200
    assert server.stop() == 0
    again = start(ADMIN_USERNAME="eve", ADMIN_PASSWORD="another long sentence")
    again.wait_until_it_answers()
    with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
        sign_in(again, "eve", "another long sentence")
    refusal.value.close()
    for text in (server.out.read_text(), server.err.read_text()):
        assert "a long enough sentence" not in text


def test_a_first_admin_that_is_refused_stops_the_start_with_the_fault(tmp_path: Path, fresh_database_url: str) -> None:
    done = run(tmp_path, "serve", database_url=fresh_database_url, PORT="0", ADMIN_PASSWORD="short")
    assert done.returncode == 2
    assert "PORT: must be a whole number" in done.stderr


def test_web_alone_serves_a_migrated_database(start: Start, tmp_path: Path, fresh_database_url: str) -> None:
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    server = start("web")
    server.wait_until_it_answers()
    assert server.get("/readyz") == 200
    (worker, _) = children(server.pid)
    os.kill(worker, signal.SIGKILL)
    until(lambda: worker not in children(server.pid) and len(children(server.pid)) == 2)
    server.wait_until_it_answers()
    assert server.stop(signal.SIGINT) == 0
