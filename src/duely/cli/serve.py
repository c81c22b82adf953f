"""`duely serve`: everything on one machine, in one command."""

import os
import sys

from duely.cli.address import answers, refuse_taken
from duely.cli.exits import Failure
from duely.cli.lifeline import SUPERVISOR
from duely.cli.migrate import apply, only_one_at_a_time, setup
from duely.cli.screen import NewAdmin, Start, show_start
from duely.cli.supervisor import ChildCannotStart, Command, Supervisor


def serve() -> None:
    """Prepare the installation, then keep its processes running until SIGTERM or Ctrl-C."""
    from django.conf import settings
    from django.db import connections

    setup()
    refuse_taken(settings.HOST, settings.PORT)
    with only_one_at_a_time():
        apply()
        admin = make_first_admin()
    connections.close_all()
    start = Start(url=settings.PUBLIC_URL, database=describe_database(), admin=admin, notes=notes())
    supervisor = Supervisor(
        commands=commands(),
        on_ready=lambda: show_start(start),
        environment={SUPERVISOR: str(os.getpid())},
    )
    try:
        supervisor.run()
    except ChildCannotStart as error:
        raise Failure(f"{error} The lines above say why.") from None


def commands() -> list[Command]:
    """The processes of an installation on one machine; with Celery its jobs run elsewhere."""
    from django.conf import settings

    web = Command("web", [*duely_command(), "web"], ready=lambda: answers(settings.HOST, settings.PORT))
    worker = Command("worker", [*duely_command(), "worker", "--scheduler"])
    return [web] if settings.CELERY_BROKER_URL else [web, worker]


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
    if database["ENGINE"].endswith("sqlite3"):
        return str(database["NAME"])
    place = database["HOST"] or "localhost"
    return f"PostgreSQL {database['NAME']} on {place}" + (f":{database['PORT']}" if database["PORT"] else "")
