"""The queue on a database of its own, with real workers and schedulers, for the commands that disturb it."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.resilience.service import database

if TYPE_CHECKING:
    from tests.jobs.rig import Rig

TESTS = Path(__file__).parents[1]


def options(program: str, about: str | None, add: Callable[[argparse.ArgumentParser], None]) -> argparse.Namespace:
    """The command line; `add` adds what only this command has."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.resilience.{program}", description=about)
    parser.add_argument("--database", choices=("sqlite", "postgres"), required=True)
    parser.add_argument("--seed", type=int, default=1, help="chooses what happens when")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds; the product's own is 30")
    add(parser)
    return parser.parse_args()


@contextmanager
def queue_rig(kind: str) -> Iterator["Rig"]:
    """An empty, migrated database, and a Rig on it. This process may queue and count; it is set up for one such run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.path.insert(0, str(TESTS))
    with tempfile.TemporaryDirectory(prefix="duely-queue-") as directory, database(kind, Path(directory)) as url:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="duely.config.settings",
            DATABASE_URL=url,
            DATA_DIR=directory,
            LOG_LEVEL="ERROR",
            LOG_FORMAT="json",
        )
        from duely.cli.migrate import migrate

        migrate()
        from django.db import connections

        from jobs.rig import Rig, make_table

        make_table()
        rig = Rig(Path(directory))
        try:
            yield rig
        finally:
            rig.clean_up()
            connections.close_all()


def wait(condition: Callable[[], Any], seconds: float) -> float | None:
    """How long it took to come true; None when it did not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def show(figures: dict[str, Any], faults: Sequence[str]) -> int:
    """Print them, the figures as the last line; returns the exit code."""
    for fault in faults[:20]:
        print(fault)
    print(json.dumps({**figures, "clean": not faults}))
    return 1 if faults else 0
