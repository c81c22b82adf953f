"""Who is measured: each with a database, processes and tokens of its own, behind the same paths."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from data import Person
from service import FAR_LIMITS, Client, free_port

HERE = Path(__file__).parent
WORKERS = 2
SECRET = "only-for-measuring-and-nothing-that-matters-is-signed-with-it"
HOURS = 12
MINT = """
import sys, django
django.setup()
from uuid import UUID
from duely.accounts.tokens import mint_access
from duely.core.clock import now
for line in sys.stdin:
    print(mint_access(*map(UUID, line.split()), now()))
"""
"""Reads lines of user and session, prints an access token for each."""


@dataclass(frozen=True)
class Contender:
    """A running one. `tokens`: one for each person, in their order. `log`: the table with an entry for each change."""

    name: str
    url: str
    port: int
    pid: int
    tokens: list[str]
    log: str

    def client(self, place: int) -> Client:
        """A connection of this person."""
        return Client(self.port, self.tokens[place])


@contextmanager
def duely(
    name: str, source: Path, url: str, people: list[Person], folder: Path, workers: int = WORKERS
) -> Iterator[Contender]:
    """`duely web` as users start it, from this source: rates that nobody meets, tokens that last."""
    port = free_port()
    env = {
        **environment(url, source),
        **FAR_LIMITS,
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "WEB_CONCURRENCY": str(workers),
        "ACCESS_TOKEN_MINUTES": str(HOURS * 60),
        "DJANGO_SETTINGS_MODULE": "duely.config.settings",
    }
    asked = "".join(f"{person.id} {person.session}\n" for person in people)
    python = [sys.executable, "-P"]
    tokens = subprocess.check_output([*python, "-c", MINT], input=asked, env=env, text=True, cwd=folder).split()
    with _running([*python, "-m", "duely", "web"], env, folder / "log", folder) as pid:
        yield _ready(Contender(name, url, port, pid, tokens, "activity_change"))


@contextmanager
def baseline(url: str, people: list[Person], folder: Path) -> Iterator[Contender]:
    """The textbook: `bench/baseline` on gunicorn. Its data: a copy of Duely's tables, which it takes over."""
    port = free_port()
    env = {**environment(url, HERE), "DJANGO_SETTINGS_MODULE": "baseline.settings"}
    subprocess.run([sys.executable, "-m", "baseline.fill"], env=env, check=True)
    claims = {"token_type": "access", "exp": _end(), "iat": int(time.time())}
    tokens = [_signed({**claims, "jti": f"{number:032x}", "user_id": str(number)}) for number in _numbers(people)]
    command = [sys.executable, "-m", "gunicorn", "baseline.wsgi", f"--bind=127.0.0.1:{port}", f"--workers={WORKERS}"]
    with _running([*command, "--log-level=warning"], env, folder / "log", folder) as pid:
        yield _ready(Contender("baseline", url, port, pid, tokens, "baseline_activity"))


@contextmanager
def floor(url: str, people: list[Person], folder: Path) -> Iterator[Contender]:
    """`bench/floor.py` on granian, on Duely's own tables."""
    port = free_port()
    tokens = [_signed({"sub": str(person.id), "name": person.name, "exp": _end()}) for person in people]
    options = ["--interface=rsgi", f"--port={port}", f"--workers={WORKERS}", "--log-level=warning", "--loop=uvloop"]
    command = [sys.executable, "-m", "granian", *options, "floor:application"]
    with _running(command, environment(url, HERE), folder / "log", folder) as pid:
        yield _ready(Contender("floor", url, port, pid, tokens, "activity_change"))


def environment(url: str, python_path: Path) -> dict[str, str]:
    """For a process with this database and these modules."""
    return {**os.environ, "DATABASE_URL": url, "SECRET_KEY": SECRET, "PYTHONPATH": str(python_path)}


def _end() -> int:
    return int(time.time()) + HOURS * 3600


def _signed(claims: dict[str, object]) -> str:
    return jwt.encode(claims, SECRET, algorithm="HS256")


def _numbers(people: list[Person]) -> range:
    """The ids of people in the baseline: they follow those in Duely, which rise in the order of `people`."""
    return range(1, len(people) + 1)


@contextmanager
def _running(command: list[str], env: dict[str, str], log: Path, folder: Path) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=folder)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(contender: Contender) -> Contender:
    """Wait until it answers."""
    for _ in range(300):
        try:
            status, _ = contender.client(0).send("GET", "tasks/")
        except OSError:
            time.sleep(0.1)
            continue
        if status == 200:
            return contender
        raise SystemExit(f"{contender.name} answers a list with {status}")
    raise SystemExit(f"{contender.name} did not answer within 30 seconds")
