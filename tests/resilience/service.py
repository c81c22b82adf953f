"""A real `duely serve` in a directory of its own, its process tree, and the database behind it."""

import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests import postgres_server
from tests.programs import LIMITS

HOST = "127.0.0.1"
# Below the range from which the kernel takes the ports of outgoing connections. A client that keeps knocking at a dead
# port of that range can be given the same port as its own, is then connected to itself, and the service cannot bind.
PORTS = range(10_000, 32_000)
START_SECONDS = 60.0
STOP_SECONDS = 40.0
TCP_LISTEN = "0A"
ADMIN_PASSWORD = "harbour-lantern-52-violet"
LOGGED_FAULT = re.compile(r'"unhandled_exception"|"the job failed"|^Traceback|panicked')
DUELY = (sys.executable, "-P", "-m", "duely")


class ServiceFailed(Exception):
    """The service did not start, or did not come back."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    parent: int
    session: int
    name: str
    command: str


class Service:
    """`duely serve` with two web workers. Needs Linux: it reads /proc.

    settings: more of them. duely: another command in the place of `duely`.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        workers: int = 2,
        settings: Mapping[str, str] | None = None,
        duely: Sequence[str] = DUELY,
    ) -> None:
        self.port = free_port()
        self.log = directory / "serve.log"
        self._directory = directory
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOST": HOST,
            "PORT": str(self.port),
            "DATA_DIR": str(directory),
            "DATABASE_URL": database_url,
            "WEB_CONCURRENCY": str(workers),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            # Short enough for tokens to run out during a run.
            "ACCESS_TOKEN_MINUTES": "1",
            # Clients here call as fast as they can.
            **dict.fromkeys(LIMITS, "0"),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
            **(settings or {}),
        }
        self._duely = duely
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready. Raises ServiceFailed."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._duely, "serve"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServiceFailed(f"duely serve did not get ready:\n{self.last_lines()}")
            time.sleep(0.1)

    def is_running(self) -> bool:
        """Whether the supervisor itself is alive."""
        return self._process is not None and self._process.poll() is None

    def serving_processes(self) -> list[tuple[str, int]]:
        """What may be killed: ("main", pid) for granian's main process, ("worker", pid) for each worker that listens.

        Empty while none of the workers of the present main process listens yet. Workers that a killed main process
        has left behind do not count.
        """
        assert self._process is not None
        everything = processes()
        listening = listening_sockets(self.port)
        for main in everything:
            if main.parent == self._process.pid and main.name == "duely web":
                children = [item.pid for item in everything if item.parent == main.pid]
                workers = [("worker", pid) for pid in children if listening & sockets_of(pid)]
                return [("main", main.pid), *workers] if workers else []
        return []

    def worker_process(self) -> int | None:
        """The process that runs jobs; None while there is none."""
        assert self._process is not None
        for process in processes():
            if process.parent == self._process.pid and process.name == "duely worker":
                return process.pid
        return None

    def stop(self, *, log: Path | None = None) -> list[str]:
        """End it with SIGTERM, whatever state it is in, and keep its log there. Returns what went wrong in its life."""
        if self._process is None:
            return []
        if self._process.poll() is None:
            self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        left = [process for process in processes() if process.session == self._process.pid]
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        if log:
            shutil.copyfile(self.log, log)
        ended = [f"duely serve ended with exit code {code}"] * bool(code)
        return (
            ended
            + [f"left behind: {process.pid} {process.name}: {process.command}" for process in left]
            + self._logged_faults()
        )

    def last_lines(self, number: int = 10) -> str:
        """The end of its log, long lines cut."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line[-600:] for line in lines[-number:])

    def _logged_faults(self) -> list[str]:
        """Lines of its log that nobody should find there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [f"in the log of the service: {line[:600]}" for line in lines if LOGGED_FAULT.search(line)]

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def processes() -> list[Process]:
    """Every process that is alive."""
    numbers = [int(directory.name) for directory in Path("/proc").iterdir() if directory.name.isdigit()]
    return [process for process in map(_process, numbers) if process is not None]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be buried does not."""
    return _process(pid) is not None


def _process(pid: int) -> Process | None:
    directory = Path(f"/proc/{pid}")
    try:
        name = (directory / "comm").read_text().strip()
        state, parent, _, session, *_ = (directory / "stat").read_text().rpartition(")")[2].split()
        command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return None if state in {"Z", "X"} else Process(pid, int(parent), int(session), name, command)


def listening_sockets(port: int) -> set[str]:
    """The inodes of the sockets that listen on this port of the loopback."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {fields[9] for fields in lines if fields[3] == TCP_LISTEN and fields[1].endswith(f":{port:04X}")}


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        return set()
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


@contextmanager
def database(kind: str, directory: Path) -> Iterator[str]:
    """DATABASE_URL of an empty database, `sqlite` or `postgres`, that is gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/duely.sqlite3"
        return
    process, address = postgres_server.start()
    try:
        _make_durable(address.format(database="postgres"))
        yield address.format(database="duely")
    finally:
        postgres_server.stop(process)


def _make_durable(url: str) -> None:
    """Give the test server PostgreSQL's own defaults for durability, as in production, and make the database."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in postgres_server.SETTINGS:
            connection.execute(f"ALTER SYSTEM RESET {setting.partition('=')[0]}".encode())
        connection.execute(b"SELECT pg_reload_conf()")
        connection.execute(b"CREATE DATABASE duely")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with psycopg.connect(url, autocommit=True) as connection:
            if all(connection.execute(f"SHOW {name}".encode()).fetchone() == ("on",) for name in _durability()):
                return
        time.sleep(0.1)
    raise ServiceFailed("PostgreSQL did not take its durable settings.")


def _durability() -> list[str]:
    return [setting.partition("=")[0] for setting in postgres_server.SETTINGS]
