"""Ten thousand of a million tasks become late at one instant: how soon are they marked, and what do readers notice?

    .venv/bin/python -m tests.resilience.sweep --database sqlite --tasks 1000000 --late 10000

`duely serve` (the web processes, and a worker with the schedules) on a database that was filled by SQL; four
connections read lists and single tasks at a steady pace. Prints the figures as JSON. Exit code 0 when every task is
marked once; how long it took is only told. Linux only. Everything is on the loopback and gone afterwards.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.resilience import impatient
from tests.resilience.filled import FAR, PASSWORD, PEOPLE
from tests.resilience.pace import Call, Caller, percentile_ms, ratio, within
from tests.resilience.service import Service, ServiceFailed, database
from tests.resilience.stored import SQLITE, Query, opened
from tests.resilience.writers import Account, Client, Outage, sign_in

CLOCK_SECONDS = 15.0
"""How often the worker looks for late tasks."""
SHORT = {"clock": 1.0}
EVERY_SECONDS = 0.05
WARM_UP_SECONDS = 3.0
GIVE_UP_SECONDS = 300.0
LOOK_SECONDS = 0.1
LIST, ONE = "list", "one"
PAGE = 20
ROOT = Path(__file__).parents[2]


class Reader:
    """Someone who looks at lists of their tasks and at single ones."""

    def __init__(self, name: str, *, client: Client, seed: int) -> None:
        self._random = random.Random(f"{seed}/{name}")
        self._token = sign_in(client, Account(name, PASSWORD))["access"]
        answer = self._get(client, "tasks/?limit=100")
        self._tasks = [task["id"] for task in answer.body["data"]]

    def turn(self, client: Client) -> tuple[str, int]:
        """One call."""
        if self._random.random() < 0.5:
            return LIST, self._get(client, f"tasks/?limit={PAGE}").status
        return ONE, self._get(client, f"tasks/{self._random.choice(self._tasks)}/").status

    def _get(self, client: Client, path: str) -> Any:
        return client.call("GET", path, Authorization=f"Bearer {self._token}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    callers: list[Caller] = []
    figures: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="duely-sweep-") as directory,
        database(options.database, Path(directory)) as url,
    ):
        filled = _fill(Path(directory), url, options)
        service = Service(
            Path(directory),
            url,
            settings={"ACCESS_TOKEN_MINUTES": "600"},
            duely=impatient.command(**(SHORT if options.short else {})),
        )
        try:
            service.start()
            callers = _readers(service, options)
            for caller in callers:
                caller.start()
            time.sleep(WARM_UP_SECONDS)
            figures = _sweep(url, callers, options)
        except (ServiceFailed, RuntimeError, Outage) as error:
            print(f"{error}\n{service.last_lines()}", file=sys.stderr)
            return 1
        finally:
            for caller in callers:
                caller.stop()
                caller.join()
            faults = service.stop(log=options.log)
        faults += [caller.failure for caller in callers if caller.failure]
    figures["fill s"] = filled
    figures["errors"] = sum(call.failed for caller in callers for call in caller.calls)
    figures["clean"] = not (faults or figures["errors"] or {figures["marked"], figures["in the log"]} != {options.late})
    print(*faults, sep="\n", file=sys.stderr)
    print(json.dumps(figures))
    return 0 if figures["clean"] else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.resilience.sweep", description=__doc__.partition("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), required=True)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--late", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="chooses what is read")
    parser.add_argument("--before", type=float, default=30.0, metavar="SECONDS", help="how long to measure before")
    parser.add_argument("--short", action="store_true", help="look for late tasks every second")
    parser.add_argument("--log", type=Path, help="keep the log of the service here")
    options = parser.parse_args(arguments)
    if not 1 <= options.late <= options.tasks:
        parser.error("--late is 1 to --tasks")
    return options


def _fill(directory: Path, url: str, options: argparse.Namespace) -> int:
    started = time.monotonic()
    size = ["--tasks", str(options.tasks), "--late", str(options.late)]
    subprocess.run(
        [sys.executable, "-m", "tests.resilience.filled", *size],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), "DATABASE_URL": url, "DATA_DIR": str(directory)},
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return round(time.monotonic() - started)


def _readers(service: Service, options: argparse.Namespace) -> list[Caller]:
    client = Client(service.port)
    readers = {name: Reader(name, client=client, seed=options.seed) for name in PEOPLE}
    client.close()
    return [
        Caller(name, port=service.port, every_seconds=EVERY_SECONDS, turn=reader.turn)
        for name, reader in readers.items()
    ]


def _sweep(url: str, callers: list[Caller], options: argparse.Namespace) -> dict[str, Any]:
    """Let the tasks become due, watch them being marked, and tell."""
    due = int(time.time() + WARM_UP_SECONDS + options.before) + 1
    _make_due(url, due)
    time.sleep(max(due - options.before - time.time(), 0.0))
    quiet = time.time()
    time.sleep(max(due - time.time(), 0.0))
    load = os.getloadavg()[0]
    with opened(url) as ask:
        began, ended = _watch(ask, _sql(url, due), options.late)
        ((marked,),) = ask(f"SELECT count(*) FROM tasks_task WHERE status = 'overdue' AND due_at = {_sql(url, due)}")
        ((logged,),) = ask("SELECT count(*) FROM activity_change WHERE action = 'task.status_changed'")
    before, during = within(callers, quiet, due), within(callers, began, ended)
    return {
        "database": options.database,
        "tasks": options.tasks,
        "late": options.late,
        "marked": marked,
        "in the log": logged,
        "from due to the first marked s": round(began - due, 1),
        "from due to all marked s": round(ended - due, 1),
        "sweep s": round(ended - began, 1),
        **_compared(before, during),
        "load average": round(load, 1),
    }


def _make_due(url: str, due: int) -> None:
    change = f"UPDATE tasks_task SET due_at = {_sql(url, due)} WHERE due_at = {_sql(url, int(FAR.timestamp()))}"
    if url.startswith(SQLITE):
        import sqlite3

        with closing(sqlite3.connect(url.removeprefix(SQLITE), timeout=10, isolation_level=None)) as file:
            file.execute(change)
        return
    with opened(url) as ask:
        ask(change)


def _sql(url: str, instant: int) -> str:
    """An instant as Django writes it into this database."""
    text = datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"'{text}'" if url.startswith(SQLITE) else f"'{text}+00'::timestamptz"


def _watch(ask: Query, due: str, late: int) -> tuple[float, float]:
    """When the first of these tasks was seen to be marked, and the last. Raises ServiceFailed."""
    # In the words of the index of open tasks, so that a look costs next to nothing.
    still_open = "(status = 'pending' OR status = 'in_progress') AND deleted_at IS NULL"
    began = 0.0
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        seen_at = time.time()
        ((left,),) = ask(f"SELECT count(*) FROM tasks_task WHERE {still_open} AND due_at = {due}")
        if left < late and not began:
            began = seen_at - LOOK_SECONDS
        if not left:
            return began, time.time()
        time.sleep(LOOK_SECONDS)
    raise ServiceFailed(f"not all tasks were marked {GIVE_UP_SECONDS:.0f} s after they were due")


def _compared(before: Sequence[Call], during: Sequence[Call]) -> dict[str, Any]:
    told: dict[str, Any] = {"calls before": len(before), "calls during": len(during)}
    for kind in (LIST, ONE):
        base, now = ([call for call in calls if call.kind == kind] for calls in (before, during))
        for share in (0.5, 0.99):
            then, later = percentile_ms(base, share), percentile_ms(now, share)
            name = f"{kind} p{share * 100:.0f}"
            told |= {f"{name} before ms": then, f"{name} during ms": later, f"{name} ratio": ratio(later, then)}
        told[f"{kind} longest during ms"] = percentile_ms(now, 1.0)
    then, later = percentile_ms(before, 0.99), percentile_ms(during, 0.99)
    return told | {"p99 before ms": then, "p99 during ms": later, "p99 ratio": ratio(later, then)}


if __name__ == "__main__":
    sys.exit(main())
