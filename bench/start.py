"""How soon `duely serve` answers, and how much memory it keeps: `python bench/start.py --database postgres`.

Starts it several times with two web workers on a database that is migrated (SQLite in a temporary folder; or
PostgreSQL, a database of its own on the server that DATABASE_URL names, else on a server that is started for it).
Prints the seconds until /readyz and until a list of tasks is answered, the processor time until then, and the memory of
each process once all have worked and rested. Exit code 1 when the median start or the memory is beyond --seconds or
--megabytes. Linux only: it reads /proc.

--against SRC: another Duely's `src` folder, started in turns with this one, to see what a change does.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import machine
import postgres
from service import FAR_LIMITS, Client, free_port

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
HIDDEN = ROOT / "tests" / "hidden"
"""Stands before packages that only the tests need."""
WORKERS = 2
PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.005
REQUESTS = 40
"""Sent before the rest, each on a connection of its own, so that every process has worked."""
PASSWORD = "harbour-lantern-52-violet"
DUELY = (sys.executable, "-P", "-m", "duely")


@dataclass(frozen=True)
class Start:
    """Seconds from exec to the first answers, and of processor time until then."""

    ready: float
    listed: float
    processor: float


@dataclass
class Memory:
    """Of one process or all, in MB: shared pages by their share (PSS), and each in full (RSS)."""

    pss: float
    rss: float


@dataclass
class Installation:
    """One Duely with its data, and what was measured of it."""

    name: str
    environment: dict[str, str]
    port: int
    token: str = ""
    starts: list[Start] = field(default_factory=list)
    memory: list[tuple[str, Memory]] = field(default_factory=list)

    def prepare(self) -> None:
        """Migrate, make the admin and compile every module, and sign in."""
        with self.running():
            self.until_answered("/readyz")
            body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
            status, answer = Client(self.port).send("POST", "auth/login/", body)
            if status != 200:
                raise SystemExit(f"{self.name}: the sign-in was answered with {status}")
            self.token = json.loads(answer)["access"]

    def measure_start(self, rest: float) -> None:
        """Start it once, and stop it. rest: after so many seconds the memory is read; 0: it is not."""
        begun = time.perf_counter()
        with self.running() as pid:
            self.until_answered("/readyz")
            ready = time.perf_counter() - begun
            self.until_answered("/api/v1/tasks/")
            self.starts.append(Start(ready, time.perf_counter() - begun, machine.cpu_seconds(pid)))
            if rest:
                for _ in range(REQUESTS):
                    self.until_answered("/api/v1/tasks/")
                time.sleep(rest)
                self.memory = [(_described(process), _memory(process)) for process in machine.tree(pid)]

    def until_answered(self, path: str) -> bytes:
        """Ask until the answer is 200."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    return body
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(PAUSE_SECONDS)
        raise SystemExit(f"{self.name} did not answer {path} within {PATIENCE_SECONDS} seconds")

    @contextmanager
    def running(self) -> Iterator[int]:
        """`duely serve`; yields its process id."""
        with Path(self.environment["DATA_DIR"], "log").open("ab") as log:
            server = subprocess.Popen([*DUELY, "serve"], env=self.environment, stdout=log, stderr=log)
        try:
            yield server.pid
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=40)


def _described(pid: int) -> str:
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return name if name.startswith("duely") else " ".join(["duely", *arguments[4:]]).strip()


def _memory(pid: int) -> Memory:
    kib = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
    return Memory(*(int(kib[name]) * 1024 / 1e6 for name in ("Pss", "Rss")))


@contextmanager
def installations(kind: str, sources: dict[str, Path]) -> Iterator[list[Installation]]:
    """One of each source, on a migrated database of its own."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running()) if kind == "postgres" else None
        found = []
        for name, source in sources.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="duely-bench-"))
            url = f"sqlite:///{folder}/duely.sqlite3"
            if server:
                database = f"duely_bench_{uuid.uuid4().hex[:8]}"
                server.run(f'CREATE DATABASE "{database}"')
                stack.callback(server.run, f'DROP DATABASE "{database}" WITH (FORCE)')
                url = server.url(database)
            port = free_port()
            environment = {**os.environ, **FAR_LIMITS, "PYTHONPATH": f"{HIDDEN}:{source}", "DATABASE_URL": url}
            # As everywhere, the first start compiles what the next ones load.
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment |= {"DATA_DIR": folder, "PORT": str(port), "WEB_CONCURRENCY": str(WORKERS)}
            environment |= {"ADMIN_PASSWORD": PASSWORD, "LOG_FORMAT": "json"}
            found.append(Installation(name, environment, port))
            found[-1].prepare()
        yield found


def report(measured: Installation) -> None:
    """Print the tables of one installation."""
    times: dict[str, Callable[[Start], float]] = {
        "ready": lambda start: start.ready,
        "first list": lambda start: start.listed,
        "processor": lambda start: start.processor,
    }
    print(f"\n{measured.name + ', seconds':40}{'median':>8}{'least':>8}{'most':>8}")
    for name, of in times.items():
        seconds = [of(start) for start in measured.starts]
        print(f"  {name:38}{statistics.median(seconds):8.2f}{min(seconds):8.2f}{max(seconds):8.2f}")
    print(f"{measured.name + ', MB':40}{'PSS':>8}{'RSS':>8}")
    for name, memory in [*measured.memory, ("all", total(measured))]:
        print(f"  {name:38}{memory.pss:8.1f}{memory.rss:8.1f}")


def total(measured: Installation) -> Memory:
    """What all processes keep. Its RSS counts what they share several times."""
    return Memory(*(sum(getattr(memory, kind) for _, memory in measured.memory) for kind in ("pss", "rss")))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--rest", type=float, default=5, help="seconds before the memory is read")
    parser.add_argument("--against", type=Path, metavar="SRC")
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--megabytes", type=float, default=300)
    wanted = parser.parse_args()
    sources = {"duely": SRC} | ({"against": wanted.against.resolve()} if wanted.against else {})
    with installations(wanted.database, sources) as found:
        for number in range(wanted.starts):
            for measured in found if number % 2 else reversed(found):
                measured.measure_start(wanted.rest if number == wanted.starts - 1 else 0)
        for measured in found:
            report(measured)
    ready = statistics.median(start.ready for start in found[0].starts)
    return 0 if ready <= wanted.seconds and total(found[0]).pss <= wanted.megabytes else 1


if __name__ == "__main__":
    sys.exit(main())
