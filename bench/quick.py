"""A minute's look at the hot operations: `make bench`.

Starts `duely serve` on an empty database (SQLite in a temporary folder; or PostgreSQL, when DATABASE_URL names one that
may be filled), loads believable data, and measures over HTTP with keep-alive connections:

L   list of 20 by cursor            G  one task          U  patch a task
L2  filtered, ordered by due date   C  create a task

Prints requests per second, p50 and p99 in milliseconds, and what was not a 2xx. The load runs on the same machine and
in Python, so the figures are for comparing one run's rows with each other, not for comparing machines.
"""

import argparse
import http.client
import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Request = tuple[str, str, bytes | None]
Maker = Callable[[], Request]


@contextmanager
def service(tasks: int) -> Iterator[tuple[int, str]]:
    """A running instance with data; yields its port and the password of its people."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as directory:
        env = {**os.environ, "DATA_DIR": directory, "PORT": str(port), "LOG_LEVEL": "WARNING", "LOG_FORMAT": "json"}
        # Limits stay on, where nobody meets them.
        env |= dict.fromkeys(("RATE_LIMIT_OTP", "RATE_LIMIT_LOGIN", "RATE_LIMIT_ANON", "RATE_LIMIT_USER"), "999999/min")
        duely = [sys.executable, "-P", "-m", "duely"]
        subprocess.run([*duely, "migrate"], env=env, check=True, stdout=subprocess.DEVNULL)
        told = subprocess.check_output([*duely, "demo", "--tasks", str(tasks)], env=env, text=True)
        password = re.search(r"password (\S+)", told)[1]
        server = subprocess.Popen([*duely, "serve"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            yield port, password
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=40)


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not become ready within 30 seconds")


class Client:
    """One keep-alive connection of someone who has signed in."""

    def __init__(self, port: int, token: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        self.connection.request(method, f"/api/v1/{path}", body, self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def operations(client: Client) -> dict[str, Maker]:
    """What is measured, over the tasks that this person has."""
    found = json.loads(client.send("GET", "tasks/?limit=100&fields=id")[1])["data"]
    ids = itertools.cycle([task["id"] for task in found])
    number = itertools.count()
    lock = threading.Lock()

    def following(source: Iterator[object]) -> object:
        with lock:
            return next(source)

    return {
        "L": lambda: ("GET", "tasks/", None),
        "L2": lambda: ("GET", "tasks/?status=pending,completed&ordering=due_date", None),
        "G": lambda: ("GET", f"tasks/{following(ids)}/", None),
        "C": lambda: ("POST", "tasks/", b'{"title": "Measure", "priority": "high"}'),
        "U": lambda: ("PATCH", f"tasks/{following(ids)}/", json.dumps({"title": f"T{following(number)}"}).encode()),
    }


def measure(port: int, token: str, make: Maker, connections: int, seconds: float) -> tuple[list[float], int]:
    """Latencies in milliseconds of every request in this time, and how many were not 2xx."""
    latencies: list[float] = []
    bad = itertools.count()
    end = time.perf_counter() + seconds

    def run() -> None:
        client = Client(port, token)
        while (begun := time.perf_counter()) < end:
            status, _ = client.send(*make())
            latencies.append((time.perf_counter() - begun) * 1000)
            if not 200 <= status < 300:
                next(bad)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, next(bad)


def main() -> int:
    """Measure and print; exit code 1 when any answer was not a 2xx."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    wanted = parser.parse_args()
    failed = 0
    with service(wanted.tasks) as (port, password):
        credentials = json.dumps({"username": "maya", "password": password}).encode()
        token = json.loads(Client(port).send("POST", "auth/login/", credentials)[1])["access"]
        print(f"{'':4}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'not 2xx':>10}")
        for name, make in operations(Client(port, token)).items():
            measure(port, token, make, wanted.connections, min(1.0, wanted.seconds))
            latencies, bad = measure(port, token, make, wanted.connections, wanted.seconds)
            cuts = statistics.quantiles(latencies, n=100)
            print(
                f"{name:4}{len(latencies) / wanted.seconds:12.0f}{cuts[49]:10.1f}{cuts[98]:10.1f}{bad:10d}", flush=True
            )
            failed += bad
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
