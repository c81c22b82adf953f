"""`duely jobs`: look at the queue, and mend it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from duely.cli.exits import Exit, Failure
from duely.cli.migrate import setup

if TYPE_CHECKING:
    from duely.jobs.rules import State


def show(*, state: str | None, name: str | None, limit: int) -> None:
    """Print the number of jobs by state and name, then the newest jobs, one in each line.

    `state` and `name` filter both lists. Without a matching job one sentence says so.
    """
    setup()
    from duely.core.clock import rfc3339
    from duely.jobs.queries import counts, latest_jobs

    chosen_state = _state(state)
    numbers = counts(state=chosen_state, name=name)
    if not numbers:
        print(f"No {f'{chosen_state} ' if chosen_state else ''}jobs{f' named {name}' if name else ''}.")
    for (job, in_state), number in numbers.items():
        print(f"{number:>8} {in_state:<8} {job}")
    for row in latest_jobs(state=chosen_state, name=name, limit=limit):
        error = f"  {row.error.splitlines()[0]}" if row.error else ""
        print(f"{row.pk}  {row.state:<8} {rfc3339(row.run_at)}  attempts {row.attempts:>2}  {row.name}{error}")


def retry(*, ids: Sequence[str], name: str | None, everything: bool) -> None:
    """Queue dead jobs again and print their number."""
    setup()
    from duely.jobs.queue import revive

    if sum((bool(ids), name is not None, everything)) != 1:
        raise Failure("Name either ids, or --name, or --all.", Exit.WRONG_USE)
    count = revive(job_ids=[_id(text) for text in ids] if ids else None, name=name)
    print(f"{count} queued again.")


def purge(*, dead: bool) -> None:
    """Delete jobs that ended long ago and print their number. dead: delete all dead jobs too."""
    setup()
    from duely.jobs import queue

    total = queue.purge_dead() if dead else 0
    while purged := queue.purge():
        total += purged
    print(f"{total} removed.")


def _state(text: str | None) -> "State | None":
    from duely.jobs.rules import State

    try:
        return None if text is None else State(text.lower())
    except ValueError:
        raise Failure(f"--state is one of {', '.join(State)}, not {text!r}.", Exit.WRONG_USE) from None


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Failure(f"{text!r} is not an id of a job; `duely jobs list` shows them.", Exit.WRONG_USE) from None
