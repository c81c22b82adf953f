"""Real `duely` processes for tests."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

DUELY = [sys.executable, "-P", "-m", "duely"]
PATIENCE_SECONDS = 60
HIDDEN = Path(__file__).parent / "hidden"
"""Stands before packages that are here for the tests alone."""
LIMITS = ("RATE_LIMIT_OTP", "RATE_LIMIT_LOGIN", "RATE_LIMIT_ANON", "RATE_LIMIT_USER")
USUAL_LIMITS = dict.fromkeys(LIMITS, "")
"""For `environment`, which else switches them off."""


def environment(database_url: str, **settings: str) -> dict[str, str]:
    """What an operator's process would have, and nothing of the test run."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    kept["PYTHONPATH"] = str(HIDDEN)
    return {
        **kept,
        **dict.fromkeys(LIMITS, "0"),
        "DATABASE_URL": database_url,
        "PYTHONUNBUFFERED": "1",
        "DRAIN_SECONDS": "0",
        **settings,
    }


def run(directory: Path, *arguments: str, database_url: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run one command in `directory` to its end."""
    return subprocess.run(
        [*DUELY, *arguments],
        cwd=directory,
        env=environment(database_url, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], Any], *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; fails when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


class Server:
    """A running `duely serve` or `duely web` with its output in files."""

    def __init__(self, directory: Path, command: str, *, database_url: str, **settings: str) -> None:
        self.port = int(settings.pop("PORT", 0)) or free_port()
        self.out = directory / f"{command}-{self.port}.out"
        self.err = directory / f"{command}-{self.port}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*DUELY, command],
                cwd=directory,
                env=environment(database_url, **{"PORT": str(self.port), "WEB_CONCURRENCY": "2", **settings}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.pid = self.process.pid

    def get(self, path: str, *, seconds: float = 10) -> int | None:
        """The status of one answer, None when there is none in time."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as answer:
            answer.close()
            return answer.code
        except OSError:
            return None

    def wait_until_it_answers(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.err.read_text() + self.out.read_text()
            return self.get("/healthz") == 200

        until(answers)

    def log(self) -> list[dict[str, Any]]:
        """Every line of standard output; fails when one is not JSON."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def descendants(self) -> list[int]:
        found = []
        for child in children(self.pid):
            found += [child, *children(child)]
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def clean_up(self) -> None:
        """Leave nothing behind, also after a failed test."""
        left = self.descendants()
        self.process.kill()
        self.process.wait()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def made_up_password(text: str) -> str:
    """The password that `serve` or `createadmin` shows once."""
    found = re.search(r"\b(?:[a-z2-9]{5}-){3}[a-z2-9]{5}\b", text)
    assert found, text
    return found[0]
