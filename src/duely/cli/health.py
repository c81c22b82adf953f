"""`duely health`: a check for container managers that run a command.

Uses only the standard library: it runs every few seconds, and importing Django takes longer than the check may.
"""

import os
import socket
import sys
import time
from pathlib import Path

from duely.core.dotenv import UnreadableDotenv, read_dotenv
from duely.core.heartbeat import OLDEST_BEAT_SECONDS, age_seconds, beat_file

USAGE = "Usage: duely health [--ready] [web|worker|scheduler]"
TIMEOUT_SECONDS = 1.8
WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


def health(arguments: list[str]) -> int:
    """Print one line and return the exit code: 0 healthy, 1 not healthy, 2 wrong use."""
    checks_readiness = "--ready" in arguments
    names = [argument for argument in arguments if argument != "--ready"] or ["web"]
    if len(names) > 1 or names[0] not in {"web", "worker", "scheduler"} or (checks_readiness and names[0] != "web"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        settings = {**read_dotenv(Path(".env")), **os.environ}
    except UnreadableDotenv as error:
        print(f"duely: .env: {error}", file=sys.stderr)
        return 2
    if names[0] == "web":
        is_healthy, sentence = _check_web(settings, "/readyz" if checks_readiness else "/healthz")
    else:
        is_healthy, sentence = _check_heartbeat(Path(settings.get("DATA_DIR") or "data").expanduser(), names[0])
    print(sentence, file=sys.stdout if is_healthy else sys.stderr)
    return 0 if is_healthy else 1


def _check_web(settings: dict[str, str], path: str) -> tuple[bool, str]:
    host = settings.get("HOST", "").strip("[]")
    host, port = WILDCARDS.get(host, host), settings.get("PORT") or "8000"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    answer = b""
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS / 2) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            while (seconds_left := deadline - time.monotonic()) > 0:
                connection.settimeout(seconds_left)
                chunk = connection.recv(4096)
                if not chunk:
                    break
                answer += chunk
    except (OSError, ValueError) as error:
        return False, f"{host}:{port} does not answer: {error}"
    status, _, body = answer.partition(b"\r\n\r\n")
    is_healthy = status.split(b" ", 2)[1:2] == [b"200"]
    return is_healthy, body.decode(errors="replace").strip() or f"{host}:{port} gave no answer in time"


def _check_heartbeat(data_dir: Path, name: str) -> tuple[bool, str]:
    path = beat_file(data_dir, name)
    try:
        age = age_seconds(path)
    except OSError as error:
        hint = "; under `duely serve` the worker is the scheduler: `duely health worker`" if name == "scheduler" else ""
        return False, f"no {name} runs with this DATA_DIR: {path}: {error.strerror}{hint}"
    limit = f"the limit of {OLDEST_BEAT_SECONDS:.0f} s"
    if age > OLDEST_BEAT_SECONDS:
        return False, f"{name}: last sign of life {age:.0f} s ago, more than {limit} ({path})"
    return True, f"{name}: last sign of life {age:.0f} s ago, within {limit}"
