"""`duely serve`: everything on one machine, in one command."""

import gc
import os
import sys

from duely.cli.address import answers, refuse_taken
from duely.cli.exits import Failure
from duely.cli.keys import refuse_other_key
from duely.cli.lifeline import apart
from duely.cli.migrate import apply, only_one_at_a_time, setup
from duely.cli.screen import NewAdmin, Start, show_start
from duely.cli.supervisor import ChildCannotStart, Command, Supervisor
from duely.cli.web import FINISH_SECONDS, serve_web


def serve() -> None:
    """Prepare the installation, then keep its processes running until SIGTERM or Ctrl-C."""
    import django
    from django.conf import settings

    os.umask(0o077)  # of the children as well: what they create is for this user alone
    gc.disable()  # while everything is loaded, the search for garbage takes a tenth of the time and finds next to none
    django.setup()
    refuse_taken(settings.HOST, settings.PORT)
    load_for_children()
    advice = notes()
    admin = apart(prepare)
    start = Start(url=settings.PUBLIC_URL, database=describe_database(), admin=admin, notes=advice)
    supervisor = Supervisor(
        commands=commands(),
        on_ready=lambda: show_start(start),
        wait_seconds=settings.DRAIN_SECONDS,
        # A little more than the web processes take at most, so that a server that stops in order is never killed.
        drain_seconds=settings.DRAIN_SECONDS + FINISH_SECONDS + 2,
    )
    try:
        supervisor.run()
    except ChildCannotStart as error:
        raise Failure(f"{error} The lines above say why.") from None


def load_for_children() -> None:
    """Import what they run, once for all of them."""
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
    """Bring the database up to date; returns the first administrator if there was none."""
    from django.db import connection

    setup()
    with only_one_at_a_time():
        refuse_other_key()  # before anything changes
        apply()
        refuse_other_key()
        admin = make_first_admin()
    connection.close()
    return admin


def commands() -> list[Command]:
    """The processes of an installation on one machine; with Celery its jobs run elsewhere."""
    from django.conf import settings

    web = Command("web", serve_web, ready=lambda: answers(settings.HOST, settings.PORT))
    worker = Command("worker", run_jobs)
    return [web] if settings.CELERY_BROKER_URL else [web, worker]


def run_jobs() -> None:
    """`duely worker --scheduler`."""
    from duely.cli.worker import worker

    worker(with_schedules=True)


def notes() -> list[str]:
    """What `duely doctor` would say about the settings."""
    from django.core.checks import run_checks

    return [f"{advice.msg}. {advice.hint}" for advice in run_checks() if not advice.is_silenced()]


def duely_command() -> list[str]:
    """This same program, found without PATH and without the working directory on Python's own path."""
    return [sys.executable, "-P", "-m", "duely"]


def make_first_admin() -> NewAdmin | None:
    """The administrator of a new installation; None when there is one already."""
    from duely.accounts.queries import has_admin
    from duely.cli.createadmin import create_from_settings

    return None if has_admin() else create_from_settings()


def describe_database() -> str:
    """The database for people: a file, or server and name; never the password."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite"):
        return str(database["NAME"])
    hosts, ports = (database["HOST"] or "localhost").split(","), database["PORT"].split(",")
    pairs = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
    places = ", ".join(f"{host}:{port}" if port else host for host, port in pairs)
    return f"PostgreSQL {database['NAME']} on {places}"
