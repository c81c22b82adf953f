"""An instance of Duely with data, and a client for it: what several of the measurements here begin with."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

FAR_LIMITS = dict.fromkeys(("RATE_LIMIT_OTP", "RATE_LIMIT_LOGIN", "RATE_LIMIT_ANON", "RATE_LIMIT_USER"), "999999/min")
"""Limits stay on, where nobody meets them."""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def service(tasks: int) -> Iterator[tuple[int, str]]:
    """`duely serve` with data; yields its port and the password of its people.

    On an empty database: SQLite in a temporary folder, or the one that DATABASE_URL names.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as directory:
        env = {**os.environ, "DATA_DIR": directory, "PORT": str(port), "LOG_LEVEL": "WARNING", "LOG_FORMAT": "json"}
        env |= FAR_LIMITS
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
        """Status and body of an answer. path: below /api/v1/."""
        answer = self.ask(method, path, body)
        return answer.status, answer.read()

    def ask(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        """An answer whose body is still to be read."""
        self.connection.request(method, f"/api/v1/{path}", body, self.headers)
        return self.connection.getresponse()
