"""Does the time of an answer tell who has an account?

    .venv/bin/python bench/timing.py --pairs 300

Sends each request for someone who has an account and for someone who has not, in turn, to `duely serve` with a mail
server that nobody listens at. Prints the medians in milliseconds, by how much they differ, and the probability of a
difference as large by chance (two samples after Kolmogorov and Smirnov). On PostgreSQL when DATABASE_URL names one that
may be filled.
"""

import argparse
import bisect
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from service import Client, service

PEOPLE = 60
"""So many that nobody meets the limits of a day: five codes and five guesses of each kind."""
PASSWORD = "correct horse battery"

Body = Callable[[str], dict[str, Any]]
REQUESTS: dict[str, tuple[str, Body, int]] = {
    "log in, by name": ("auth/login/", lambda who: {"username": who, "password": "not-the-password"}, 401),
    "log in, by address": ("auth/login/", lambda who: {"email": address(who), "password": "not-it-at-all"}, 401),
    "ask for a code": ("auth/request-otp/", lambda who: {"email": address(who)}, 200),
    "guess a code": ("auth/verify-otp/", lambda who: {"email": address(who), "code": "no code"}, 400),
    "forgot password": ("auth/forgot-password/", lambda who: {"email": address(who)}, 200),
    "guess a reset code": ("auth/verify-reset-otp/", lambda who: {"email": address(who), "code": "none"}, 400),
}


def address(who: str) -> str:
    """Someone's e-mail address."""
    return f"{who}@example.org"


def sign_up(client: Client, who: str) -> None:
    """Make an account."""
    form = {"username": who, "email": address(who), "password": PASSWORD}
    if client.send("POST", "auth/signup/", json.dumps(form).encode())[0] != 201:
        raise SystemExit(f"{who} could not sign up")


def same_by_chance(one: list[float], other: list[float]) -> float:
    """The asymptotic p-value of the two-sample test by Kolmogorov and Smirnov."""
    first, second = sorted(one), sorted(other)
    apart = max(
        abs(bisect.bisect_right(first, at) / len(first) - bisect.bisect_right(second, at) / len(second))
        for at in first + second
    )
    many = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    size = (many + 0.12 + 0.11 / many) * apart
    return min(1.0, max(0.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * size) ** 2) for k in range(1, 101))))


def measure(client: Client, path: str, body: Body, status: int, pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each answer with and without an account; the two of a pair in random order."""
    found: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(pairs):
        for kind in random.sample(list(found), 2):
            content = json.dumps(body(f"{kind}{number % PEOPLE:02}")).encode()
            begun = time.perf_counter()
            answered, text = client.send("POST", path, content)
            found[kind].append((time.perf_counter() - begun) * 1000)
            if answered != status:
                raise SystemExit(f"{path} was answered with {answered}: {text.decode()}")
    return found["known"], found["unknown"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    wanted = parser.parse_args()
    os.environ["EMAIL_URL"] = "smtp://127.0.0.1:9"
    with service(100) as (port, _):
        client = Client(port)
        for number in range(PEOPLE):
            sign_up(client, f"known{number:02}")
        print(f"{'':22}{'account':>10}{'none':>10}{'differ':>10}{'p':>8}")
        for name, (path, body, status) in REQUESTS.items():
            found = measure(client, path, body, status, wanted.pairs)
            known, unknown = map(statistics.median, found)
            chance = same_by_chance(*found)
            print(f"{name:22}{known:10.2f}{unknown:10.2f}{abs(known / unknown - 1):10.1%}{chance:8.3f}", flush=True)


if __name__ == "__main__":
    main()
