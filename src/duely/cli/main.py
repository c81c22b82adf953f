"""The `duely` command. Each command loads its own code, and Django, only when it runs."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from duely import __version__
from duely.cli.exits import failures_as_sentences
from duely.cli.lifeline import show_as

app = typer.Typer(
    name="duely",
    help="A task manager with an API. Settings come from the environment or from .env.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line; expected failures end with a sentence and an exit code, not with a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
    show_as(" ".join(["duely", *sys.argv[1:2]]))
    with failures_as_sentences():
        app()


def _version(is_set: bool) -> None:
    if is_set:
        print(f"duely {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def serve() -> None:
    """Run everything on this machine: migrate, make the first admin, serve, restart what dies."""
    from duely.cli.serve import serve

    serve()


@app.command()
def web() -> None:
    """Run the web processes alone; `duely migrate` comes first."""
    from duely.cli.web import web

    web()


@app.command()
def worker(
    scheduler: Annotated[bool, typer.Option("--scheduler", help="Also queue the scheduled jobs.")] = False,
    job: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run jobs: mail, reminders, overdue marking. Any number of them on any number of nodes."""
    from duely.cli.worker import one_job, worker

    if job is not None:
        one_job(job)
    else:
        worker(with_schedules=scheduler)


@app.command()
def scheduler() -> None:
    """Queue the scheduled jobs. Any number of schedulers may run: each job is queued once."""
    from duely.cli.worker import scheduler

    scheduler()


class Part(StrEnum):
    """The processes that `duely health` can check."""

    WEB = "web"
    WORKER = "worker"
    SCHEDULER = "scheduler"


@app.command()
def health(
    part: Annotated[Part, typer.Argument(help="Which process: web, worker or scheduler.")] = Part.WEB,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether web can do its work.")] = False,
) -> None:
    """Check whether Duely works on this machine, within 2 seconds; exit code 1 when not. For container checks."""
    from duely.cli.health import health

    raise typer.Exit(health([*(["--ready"] if ready else []), part.value]))


@app.command()
def migrate(
    adopt_key: Annotated[
        bool,
        typer.Option(
            "--adopt-key", help="Accept this SECRET_KEY in place of the lost one that the database was used with."
        ),
    ] = False,
) -> None:
    """Bring the database up to date. When several nodes run it at once, one works and the others wait."""
    from duely.cli.migrate import migrate

    for line in migrate(adopt=adopt_key):
        print(line)


@app.command()
def createadmin(
    username: Annotated[str | None, typer.Option(help="Name to sign in with. [ADMIN_USERNAME]")] = None,
    email: Annotated[str | None, typer.Option(help="E-mail address. [ADMIN_EMAIL]")] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Make a password up and print it.")] = False,
    if_none: Annotated[
        bool, typer.Option("--if-none", help="Do nothing when there is an administrator. For scripts.")
    ] = False,
) -> None:
    """Make an administrator; asks for what is missing. The password may come from ADMIN_PASSWORD."""
    from duely.cli.createadmin import createadmin

    createadmin(username=username, email=email, generate=generate, if_none=if_none)


@app.command()
def doctor() -> None:
    """Check settings, database, files and clock, and say what to do; exit code 1 when something is wrong."""
    from duely.cli.doctor import doctor

    doctor()


@app.command()
def demo(
    tasks: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many tasks.")] = 10_000,
) -> None:
    """Fill an empty instance with a year of believable data."""
    from duely.cli.demo import demo

    demo(tasks=tasks)


jobs = typer.Typer(help="Look at the queue, and mend it.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")


@jobs.command("list")
def jobs_list(
    state: Annotated[str | None, typer.Option(help="waiting, running, done or dead.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many jobs to show.")] = 50,
) -> None:
    """Count the jobs and show the newest ones."""
    from duely.cli.jobs import show

    show(state=state, name=name, limit=limit)


@jobs.command("retry")
def jobs_retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of dead jobs.")] = None,
    name: Annotated[str | None, typer.Option(help="All dead jobs of this name.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead jobs.")] = False,
) -> None:
    """Queue dead jobs again."""
    from duely.cli.jobs import retry

    retry(ids=ids or [], name=name, everything=everything)


@jobs.command("purge")
def jobs_purge(
    dead: Annotated[bool, typer.Option("--dead", help="Delete all dead jobs, however recent.")] = False,
) -> None:
    """Delete jobs that ended long ago."""
    from duely.cli.jobs import purge

    purge(dead=dead)


mail = typer.Typer(help="Look at the mails that Duely sends.", no_args_is_help=True)
app.add_typer(mail, name="mail")


@mail.callback()
def mail_options() -> None:
    pass


@mail.command("preview")
def mail_preview(
    to: Annotated[Path, typer.Option(help="Directory to write into.")] = Path("mail-previews"),
) -> None:
    """Write every kind of mail as .html and .txt files, with made-up contents."""
    from duely.cli.mail import preview

    preview(to)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def manage(context: typer.Context) -> None:
    """Run one of Django's own commands: duely manage shell."""
    from django.core.management import execute_from_command_line

    sys.argv[0] = "duely manage"
    execute_from_command_line(["duely manage", *context.args])
