"""`duely` with shorter waits, so that what takes an hour in production takes a minute in a run of faults.

    python -P tests/resilience/impatient.py lease=5 retry=0.5 clock=1 serve

It sets constants of Duely's modules in a process of its own, and in those that this one starts: they are no settings.
lease: how long a job belongs to a worker that is not heard of. retry: the first wait of a job that did not work; the
longest is four times that. clock: how often reminders and late tasks are looked for. step: how long a mail server may take for each
step; for all, three times that. mails: how many reminders one mailbox may be sent within a day.
"""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

STEPS_IN_ALL = 3
LONGEST_RETRIES = 4
RECOVERIES_IN_A_LEASE = 5
CLOCKS = frozenset({"notifications.remind", "tasks.mark_overdue"})
OPTIONS = ("lease", "retry", "clock", "step", "mails")


def command(**seconds: float) -> tuple[str, ...]:
    """The command to run in the place of `duely`; Duely's own one when nothing is to be shorter."""
    if not seconds:
        return (sys.executable, "-P", "-m", "duely")
    return (sys.executable, "-P", __file__, *(f"{name}={value}" for name, value in seconds.items()))


def main() -> None:
    """Take the options off the command line, shorten what they say, and be `duely`."""
    seconds = {}
    while len(sys.argv) > 1 and sys.argv[1].partition("=")[0] in OPTIONS:
        name, _, value = sys.argv.pop(1).partition("=")
        seconds[name] = float(value)
    hurry(**seconds)
    from duely.cli.main import main as duely

    duely()


def hurry(**seconds: float) -> None:
    """Shorten the waits. Before anything of Duely is imported: some modules copy these constants."""
    from duely.cli import serve
    from duely.jobs import rules

    serve.duely_command = lambda: list(command(**seconds))
    if lease := seconds.get("lease"):
        rules.LEASE = timedelta(seconds=lease)
    if retry := seconds.get("retry"):
        rules.FIRST_RETRY, rules.LONGEST_RETRY = timedelta(seconds=retry), timedelta(seconds=retry * LONGEST_RETRIES)
    if clock := seconds.get("clock"):
        _look_every(timedelta(seconds=clock))
    _after_setup(lambda: _hurry_modules_with_models(**seconds))


def _look_every(every: timedelta) -> None:
    from duely.jobs import registry

    define: Callable[..., Any] = registry.job

    def hurried(name: str, **options: Any) -> Any:
        return define(name, **(options | {"every": every} if name in CLOCKS else options))

    registry.job = hurried


def _hurry_modules_with_models(**seconds: float) -> None:
    from duely.jobs import worker
    from duely.mail import limits, transport
    from duely.mail.rules import Allowance

    if lease := seconds.get("lease"):
        worker.RECOVER_EVERY_SECONDS = lease / RECOVERIES_IN_A_LEASE
    if step := seconds.get("step"):
        transport.STEP_SECONDS, transport.TOTAL_SECONDS = step, step * STEPS_IN_ALL
    if mails := seconds.get("mails"):
        limits.DAILY_LIMITS = {**limits.DAILY_LIMITS, Allowance.NOTICES: int(mails)}


def _after_setup(act: Callable[[], None]) -> None:
    import django

    setup = django.setup

    def set_up(*arguments: Any, **options: Any) -> None:
        setup(*arguments, **options)
        act()

    django.setup = set_up


if __name__ == "__main__":
    main()
