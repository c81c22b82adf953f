"""Kill -9 the web processes at random moments while clients write, then look whether an acknowledged write is missing.

    .venv/bin/python -m tests.resilience.kill_web --database sqlite --kills 200 --seed 1

Prints a table of figures, every fault, and as the last line the figures as JSON. Exit code 0 when nothing is wrong.
Linux only. Everything is on the loopback, in a temporary directory, and gone afterwards.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from tests.resilience.ledger import Board, Outcome
from tests.resilience.service import Service, ServiceFailed, database, is_alive
from tests.resilience.stored import Check, Stored, examine, opened, read
from tests.resilience.verdict import Fault, Seen, Verdict, judge
from tests.resilience.writers import Account, Client, Outage, Writer, sign_in, sign_up

SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.25
RECOVERY_SECONDS = 30.0
WRITERS_PER_ACCOUNT = 2
MOST_WRITES_PER_WRITER = 10_000
WARM_UP_SECONDS = 1.0
CALM_SECONDS = 2.0
SHOWN_FAULTS = 10
PAGE = 100


@dataclass(frozen=True, slots=True)
class Kill:
    """One process killed, and how long it took until a worker served and a write was acknowledged."""

    kind: str
    seconds: float


@dataclass(slots=True)
class Run:
    """What happened in one run."""

    kills: list[Kill] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    faults: list[str] = field(default_factory=list)
    """What is wrong beyond the verdict: a service that stays away, processes left behind, faults in its log."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    board, run = Board(), Run()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="duely-kill-web-") as directory,
        database(options.database, Path(directory)) as url,
    ):
        service = Service(Path(directory), url)
        try:
            service.start()
            writers, accounts = _writers(service, board, options)
            _kill_under_writes(service, board, run, writers, options)
            seen = _look(service, accounts)
        except (ServiceFailed, Outage, RuntimeError) as error:
            print(f"{error}\n{service.last_lines()}", *board.surprises[:SHOWN_FAULTS], sep="\n", file=sys.stderr)
            return 1
        finally:
            run.faults += service.stop(log=options.log)
        with opened(url) as ask:
            stored = read(ask)
        verdict = judge([writer.attempts for writer in writers], stored, _by_owner(seen, stored))
        checks = examine(url)
    figures = _figures(options, board, run, writers, verdict, checks)
    figures["seconds"] = round(time.monotonic() - started)
    _print(figures, verdict, board, run, checks)
    return 0 if figures["clean"] else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.resilience.kill_web", description=__doc__.partition("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="chooses what is written, and what is killed when")
    parser.add_argument("--writers", type=int, default=8, help="clients, two for each account")
    parser.add_argument("--log", type=Path, help="keep the log of the service here")
    options = parser.parse_args(arguments)
    if not 1 <= options.kills <= 10_000 or not 1 <= options.writers <= 64:
        parser.error("--kills is 1 to 10000, --writers 1 to 64")
    return options


def _writers(service: Service, board: Board, options: argparse.Namespace) -> tuple[list[Writer], list[Account]]:
    accounts = [Account(f"writer{number}") for number in range(-(-options.writers // WRITERS_PER_ACCOUNT))]
    client = Client(service.port)
    for account in accounts:
        sign_up(client, account)
    client.close()
    writers = [
        Writer(
            number,
            port=service.port,
            account=accounts[number // WRITERS_PER_ACCOUNT],
            board=board,
            seed=options.seed,
            most_writes=MOST_WRITES_PER_WRITER,
        )
        for number in range(options.writers)
    ]
    return writers, accounts


def _kill_under_writes(
    service: Service, board: Board, run: Run, writers: list[Writer], options: argparse.Namespace
) -> None:
    for writer in writers:
        writer.start()
    try:
        if board.wait_for_write_begun_after(time.monotonic(), RECOVERY_SECONDS) is None:
            raise ServiceFailed("no write was acknowledged before the first kill")
        time.sleep(WARM_UP_SECONDS)
        run.began = time.monotonic()
        _kill(service, board, run, options)
        time.sleep(WARM_UP_SECONDS)
        run.ended = time.monotonic()
    finally:
        for writer in writers:
            writer.stop()
        run.faults += [f"{writer.name} does not end" for writer in writers if not writer.has_ended(RECOVERY_SECONDS)]
    run.faults += [writer.failure for writer in writers if writer.failure]


def _kill(service: Service, board: Board, run: Run, options: argparse.Namespace) -> None:
    choose = random.Random(options.seed)
    for number in range(1, options.kills + 1):
        time.sleep(choose.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
        kind, at = _kill_one(service, choose)
        _wait_until_serving(service)
        # Not from the kill on: workers without their main process may still answer for a moment.
        served = board.wait_for_write_begun_after(time.monotonic(), RECOVERY_SECONDS)
        if served is None:
            raise ServiceFailed(
                f"no write was acknowledged in {RECOVERY_SECONDS:.0f} s after kill {number}, of a {kind}"
            )
        run.kills.append(Kill(kind, served - at))
        if number % 25 == 0:
            print(f"{number} of {options.kills} kills", file=sys.stderr, flush=True)


def _wait_until_serving(service: Service) -> list[tuple[str, int]]:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline and service.is_running():
        if found := service.serving_processes():
            return found
        time.sleep(0.01)
    raise ServiceFailed(f"no web process serves, {RECOVERY_SECONDS:.0f} s after the last kill")


def _kill_one(service: Service, choose: random.Random) -> tuple[str, float]:
    """Kill one of the web processes, once one of them serves; returns its kind, and when, as soon as it is dead."""
    while True:
        kind, pid = choose.choice(_wait_until_serving(service))
        at = time.monotonic()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        while is_alive(pid):
            time.sleep(0.001)
        return kind, at


def _look(service: Service, accounts: list[Account]) -> dict[str, Seen]:
    """What the API shows each account when all is calm again."""
    time.sleep(CALM_SECONDS)
    client = Client(service.port)
    seen = {}
    for account in accounts:
        tokens = sign_in(client, account)
        seen[account.username] = Seen(
            tasks=_every_page(client, tokens, "tasks/", ordering="created_at"),
            categories=_every_page(client, tokens, "categories/"),
            log=_every_page(client, tokens, "activity-logs/", ordering="seq"),
        )
    client.close()
    return seen


def _every_page(client: Client, tokens: dict[str, str], path: str, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    query["limit"] = PAGE
    while True:
        address = f"{path}?{urlencode(query)}"
        answer = client.call_until_answered("GET", address, Authorization=f"Bearer {tokens['access']}")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            renewed = client.call_until_answered("POST", "auth/token/refresh/", {"refresh": tokens["refresh"]})
            if renewed.status != HTTPStatus.OK:
                raise RuntimeError(f"refreshing was answered with {renewed}")
            tokens |= {name: renewed.body[name] for name in ("access", "refresh")}
            continue
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"GET {address} was answered with {answer}")
        items += answer.body["data"]
        if not answer.body["pagination"]["has_more"]:
            return items
        query["cursor"] = answer.body["pagination"]["next_cursor"]


def _by_owner(seen: dict[str, Seen], stored: Stored) -> dict[UUID, Seen]:
    return {stored.owners[username]: shown for username, shown in seen.items()}


def _figures(
    options: argparse.Namespace, board: Board, run: Run, writers: list[Writer], verdict: Verdict, checks: list[Check]
) -> dict[str, Any]:
    outcomes = Counter(attempt.outcome for attempt in chain.from_iterable(writer.attempts for writer in writers))
    recoveries = {
        kind: sorted(kill.seconds * 1000 for kill in run.kills if kill.kind in kinds)
        for kind, kinds in {"main": {"main"}, "worker": {"worker"}, "any": {"main", "worker"}}.items()
    }
    figures: dict[str, Any] = {
        "database": options.database,
        "seed": options.seed,
        "kills": len(run.kills),
        **{f"kills of {kind}": len(recoveries[kind]) for kind in ("main", "worker")},
        "writes acknowledged": outcomes[Outcome.ACKNOWLEDGED],
        "writes unknown": outcomes[Outcome.UNKNOWN],
        "unknown writes that happened": verdict.happened,
        "writes refused": outcomes[Outcome.REFUSED],
        "writes unsent": outcomes[Outcome.UNSENT],
        "retries with a key": board.retries,
        **{fault.value: verdict.count(fault) for fault in Fault},
        "sessions lost": len(board.sessions_lost),
        "answers 503": board.statuses[HTTPStatus.SERVICE_UNAVAILABLE],
        "other 5xx": sum(number for status, number in board.statuses.items() if status >= 500 and status != 503),
        "unexpected answers": len(board.surprises),
        "timeouts": board.timeouts,
        "longest error gap ms": round(board.longest_gap_seconds(run.began, run.ended) * 1000),
        **{
            f"median recovery ms, {kind}": round(statistics.median(times)) if times else None
            for kind, times in recoveries.items()
        },
        **{f"longest recovery ms, {kind}": round(times[-1]) if times else None for kind, times in recoveries.items()},
        "integrity": "ok" if all(check.sound for check in checks) else "broken",
    }
    figures["clean"] = not (
        any(verdict.faults.values())
        or board.sessions_lost
        or board.surprises
        or run.faults
        or figures["other 5xx"]
        or figures["integrity"] != "ok"
        or len(run.kills) != options.kills
    )
    return figures


def _print(figures: dict[str, Any], verdict: Verdict, board: Board, run: Run, checks: list[Check]) -> None:
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name:<{width}}  {value}")
    for check in checks:
        print(f"{check.name}: {check.result}")
    found = {fault.value: texts for fault, texts in verdict.faults.items()}
    found |= {"unexpected answer": board.surprises, "session lost": board.sessions_lost, "run": run.faults}
    for name, texts in found.items():
        for text in texts[:SHOWN_FAULTS]:
            print(f"{name}: {text}")
        if len(texts) > SHOWN_FAULTS:
            print(f"{name}: and {len(texts) - SHOWN_FAULTS} more")
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())
