"""`duely health`: is the service well, for container managers that ask by a command.

Standard library only: it runs every few seconds, and Django alone takes longer to load than the whole command may.
"""

import os
import socket
import sys
import time
from pathlib import Path

from duely.core.dotenv import UnreadableDotenv, read_dotenv
from duely.core.heartbeat import OLDEST_BEAT_SECONDS, age_seconds, beat_file

USAGE = "Usage: duely health [--ready] [web|worker|scheduler]"
MOST_SECONDS = 1.8
WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to


def health(arguments: list[str]) -> int:
    """Print one line, and return the exit code: 0 well, 1 not, 2 wrong use."""
    is_ready_asked = "--ready" in arguments
    names = [argument for argument in arguments if argument != "--ready"] or ["web"]
    if len(names) > 1 or names[0] not in {"web", "worker", "scheduler"} or (is_ready_asked and names[0] != "web"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        settings = {**read_dotenv(Path(".env")), **os.environ}
    except UnreadableDotenv as error:
        print(f"duely: .env: {error}", file=sys.stderr)
        return 2
    if names[0] == "web":
        is_well, sentence = _web(settings, "/readyz" if is_ready_asked else "/healthz")
    else:
        is_well, sentence = _beat(Path(settings.get("DATA_DIR") or "data").expanduser(), names[0])
    print(sentence, file=sys.stdout if is_well else sys.stderr)
    return 0 if is_well else 1


def _web(settings: dict[str, str], path: str) -> tuple[bool, str]:
    host = settings.get("HOST", "").strip("[]")
    host, port = WILDCARDS.get(host, host), settings.get("PORT") or "8000"
    end = time.monotonic() + MOST_SECONDS
    answer = b""
    try:
        with socket.create_connection((host, int(port)), timeout=MOST_SECONDS / 2) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            while (left := end - time.monotonic()) > 0:
                connection.settimeout(left)
                if not (more := connection.recv(4096)):
                    break
                answer += more
    except (OSError, ValueError) as error:
        return False, f"{host}:{port} does not answer: {error}"
    status, _, body = answer.partition(b"\r\n\r\n")
    is_well = status.split(b" ", 2)[1:2] == [b"200"]
    return is_well, body.decode(errors="replace").strip() or f"{host}:{port} gave no answer in time"


def _beat(data_dir: Path, name: str) -> tuple[bool, str]:
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
