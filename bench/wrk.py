"""Runs wrk over a file of requests and reads what it found."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Request:
    """One request. path: below /api/v1/. A `#` in the body becomes a time of the day, another one each time."""

    method: str
    path: str
    token: str
    body: str = ""
    tag: str = ""

    def line(self) -> str:
        """As `wrk.lua` reads it."""
        return f"{self.method}\t/api/v1/{self.path}\t{self.token}\t{self.tag}\t{self.body}\n"


@dataclass(frozen=True)
class Load:
    """What a run found. Latencies in milliseconds; `broken`: connections that failed, requests without an answer."""

    requests: int
    seconds: float
    p50: float
    p99: float
    longest: float
    broken: int
    statuses: dict[int, int]

    def wrong(self, wanted: frozenset[int]) -> int:
        """How many were not answered, or with another status."""
        return self.broken + sum(number for status, number in self.statuses.items() if status not in wanted)


def need_wrk() -> None:
    """Exit with 2 where there is no wrk."""
    if shutil.which("wrk") is None:
        print("wrk is missing here. Install it with: sudo apt-get install wrk", file=sys.stderr)
        raise SystemExit(2)


def run(
    port: int, file: Path, *, first: int, connections: int, seconds: float, meanwhile: Callable[[], None] | None = None
) -> Load:
    """Send the requests of a file, beginning with the `first`; call `meanwhile` halfway."""
    address = f"http://127.0.0.1:{port}"
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout=10s", "-s", str(SCRIPT)]
    command = ["wrk", *options, address, "--", str(file), str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if meanwhile:
        time.sleep(seconds / 2)
        meanwhile()
    return parsed(process.communicate()[0])


def parsed(output: str) -> Load:
    """What wrk.lua printed at the end of wrk's own words."""
    lines = [line for line in output.splitlines() if line.startswith("JSON ")]
    if not lines:
        raise SystemExit(f"wrk failed: {output}")
    found = json.loads(lines[-1].removeprefix("JSON "))
    return Load(
        requests=found["requests"],
        seconds=found["microseconds"] / 1e6,
        p50=found["p50"] / 1000,
        p99=found["p99"] / 1000,
        longest=found["max"] / 1000,
        broken=found["broken"] + found["timeouts"],
        statuses={int(status): number for status, number in found["statuses"].items()},
    )
