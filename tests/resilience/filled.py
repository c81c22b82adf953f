"""Fill an empty database for a run of `sweep`, in a process of its own: the settings come from the environment.

    python -m tests.resilience.filled --tasks 1000000 --late 10000

The tasks that are to become late are due FAR away until the run says when.
"""

import argparse
import importlib
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

FAR = datetime(2099, 1, 1, tzinfo=UTC)
PEOPLE = ("person0", "person1", "person2", "person3")
"""Those who have the most tasks; they can sign in."""
PASSWORD = "quiet-orchard-71-meadow"


def main() -> None:
    """Migrate, fill, and let PEOPLE sign in."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--late", type=int, required=True)
    wanted = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "duely.config.settings"
    from duely.cli.migrate import migrate

    migrate()
    bench = _bench()
    _take_time()
    bench.fill(wanted.tasks, wanted.late)
    _put_off(bench.NOW)
    _let_sign_in()


def _bench() -> ModuleType:
    sys.path.append(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module("overdue")


def _take_time() -> None:
    """Let statements take as long as they do, and wait for the server's own vacuum."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")


def _put_off(filled_at: datetime) -> None:
    """Let what is late now be due FAR away, and what would become late by itself meanwhile a year later still."""
    from django.db import connection

    from duely.tasks.models import OPEN_TASKS, Task

    _take_time()
    still_open = Task.objects.filter(OPEN_TASKS)
    still_open.filter(due_at__lte=filled_at).update(due_at=FAR, due_on=None)
    soon = datetime.now(UTC) + timedelta(days=1)
    still_open.filter(due_at__lte=soon).update(due_at=FAR + timedelta(days=365), due_on=None)
    connection.close()


def _let_sign_in() -> None:
    from django.contrib.auth.hashers import make_password
    from django.db import connection

    from duely.accounts.models import User

    User.objects.filter(username__in=PEOPLE).update(password=make_password(PASSWORD))
    connection.close()


if __name__ == "__main__":
    main()
