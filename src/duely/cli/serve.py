"""`duely serve`: runs all processes on one machine."""

import gc
import os
import sys

from duely.cli.address import answers, refuse_taken
from duely.cli.exits import Failure
from duely.cli.keys import refuse_other_key
from duely.cli.lifeline import run_in_child
from duely.cli.migrate import apply, only_one_at_a_time, setup
from duely.cli.screen import NewAdmin, Start, show_start
from duely.cli.supervisor import ChildCannotStart, Command, Supervisor
from duely.cli.web import FINISH_SECONDS, serve_web


def serve() -> None:
    """Prepare the installation, then keep its processes running until SIGTERM or Ctrl-C."""
    import django
    from django.conf import settings

    os.umask(0o077)  # for the children too: only this user may read the files that they create
    gc.disable()  # garbage collection takes a tenth of the time of the imports and frees almost nothing
    django.setup()
    refuse_taken(settings.HOST, settings.PORT)
    load_for_children()
    advice = notes()
    admin = run_in_child(prepare)
    start = Start(url=settings.PUBLIC_URL, database=describe_database(), admin=admin, notes=advice)
    supervisor = Supervisor(
        commands=commands(),
        on_ready=lambda: show_start(start),
        wait_seconds=settings.DRAIN_SECONDS,
        # Longer than the web processes may take, so that none is killed while it stops.
        drain_seconds=settings.DRAIN_SECONDS + FINISH_SECONDS + 2,
    )
    try:
        supervisor.run()
    except ChildCannotStart as error:
        raise Failure(f"{error} The lines above say why.") from None


def load_for_children() -> None:
    """Import the code of all children before the fork, so that they share it (decision 0020)."""
    import granian.server  # noqa: F401 - for the children
    from django.conf import settings
    from django.db.migrations.loader import MigrationLoader
    from django.utils.module_loading import import_string

    from duely.jobs import registry, worker  # noqa: F401 - for the children

    import_string(settings.WSGI_APPLICATION)
    registry.known()
    MigrationLoader(None)
    # Garbage collection writes to each object that it visits, which copies 26 MB for each process (decision 0020).
    gc.freeze()
    gc.enable()


def prepare() -> NewAdmin | None:
    """Migrate the database. Returns the first administrator if one was created."""
    from django.db import connection

    setup()
    with only_one_at_a_time():
        refuse_other_key()  # before the migrations change anything
        apply()
        refuse_other_key()
        admin = make_first_admin()
    connection.close()
    return admin


def commands() -> list[Command]:
    """The child processes. With Celery there is no worker among them."""
    from django.conf import settings

    web = Command("web", serve_web, ready=lambda: answers(settings.HOST, settings.PORT))
    worker = Command("worker", run_jobs)
    return [web] if settings.CELERY_BROKER_URL else [web, worker]


def run_jobs() -> None:
    """`duely worker --scheduler`."""
    from duely.cli.worker import worker

    worker(with_schedules=True)


def notes() -> list[str]:
    """The warnings about settings, as `duely doctor` prints them."""
    from django.core.checks import run_checks

    return [f"{advice.msg}. {advice.hint}" for advice in run_checks() if not advice.is_silenced()]


def duely_command() -> list[str]:
    """The command line of this program. Needs no PATH, and imports nothing from the working directory."""
    return [sys.executable, "-P", "-m", "duely"]


def make_first_admin() -> NewAdmin | None:
    """Create the administrator of a new installation; None if there is one."""
    from duely.accounts.queries import has_admin
    from duely.cli.createadmin import create_from_settings

    return None if has_admin() else create_from_settings()


def describe_database() -> str:
    """The database for operators: a file, or a server and a name, without the password."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite"):
        return str(database["NAME"])
    hosts, ports = (database["HOST"] or "localhost").split(","), database["PORT"].split(",")
    pairs = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
    servers = ", ".join(f"{host}:{port}" if port else host for host, port in pairs)
    return f"PostgreSQL {database['NAME']} on {servers}"
