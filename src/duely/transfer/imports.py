"""Bringing in a file: everything in it is checked before anything is written."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, TypeVar
from uuid import UUID

from django.db import IntegrityError

from duely.activity.queries import counted_for
from duely.core import drain
from duely.core.actor import Actor
from duely.core.drain import Stage
from duely.core.errors import MAX_REPORTED, FieldError, QuotaExceeded, Unavailable, ValidationFailed
from duely.core.ids import new_id
from duely.core.quotas import LIMITS
from duely.database.slots import yield_slot
from duely.tasks import actions
from duely.tasks.categories.queries import own_category_ids
from duely.tasks.models import Task
from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.budget import SECONDS_PER_TASK, Budget
from duely.transfer.files import opened
from duely.transfer.formats.base import Format
from duely.transfer.reading import Reading
from duely.transfer.rules import BATCH, BATCH_TEXT, MAX_CATEGORIES, MAX_TASKS, SAMPLE, Faulty, Rows

T = TypeVar("T")
TRIES = 3
CHECKED_ROWS = 32
"""After so many rows the processor time is looked at."""


@dataclass(slots=True)
class Result:
    """What came of a file, or with `preview` what would: how many rows became what, and the first tasks."""

    format: Format
    reading: Reading
    categories: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    sample: list[Task] = field(default_factory=list)


@dataclass(slots=True)
class _Checked:
    """What a file names: its categories by their keys, how many tasks, and where it names a category of elsewhere."""

    categories: dict[str, IncomingCategory] = field(default_factory=dict)
    tasks: int = 0
    elsewhere: dict[str, str] = field(default_factory=dict)


def bring_in(*, actor: Actor, file: BinaryIO, preview: bool, now: datetime) -> Result:
    """Make what is in a file the actor's own. The same file again changes nothing.

    Each batch of rows is a transaction: whatever breaks off an import, the same file again completes it.
    Raises MalformedRequest (400) for a file that cannot be read, ValidationFailed (400) with the first faulty rows,
    QuotaExceeded (403) for more tasks or categories than the actor may have, ImportTooCostly (422) for one that takes
    too much work to read, before anything is written. A preview raises the same.
    Raises Unavailable (503) between two batches when the server is about to end.
    """
    # Checked until the first row is written: only a stop of the server ends an import halfway.
    budget = Budget(_size(file))
    reading = Reading(budget.check)
    with opened(file, actor.zone, now, reading) as source:
        result = Result(source.format, reading)
        checked = _check(source.rows(reading), budget)
        ids = _ids_elsewhere(actor, checked)
        _refuse_too_many(actor, checked, source.rows, now)
        found, result.categories = _until_nobody_was_faster(
            lambda: actions.import_categories(
                actor=actor, rows=list(checked.categories.values()), preview=preview, now=now
            )
        )
        if preview:
            # An import is refused by the database, which a preview does not write to.
            _refuse_beyond("categories", result.categories["created"], actor)
        for batch in _batches(source.rows):
            if drain.stage() == Stage.ENDING:
                raise Unavailable("The server is stopping. Send the same file again: it goes on where it ended.")
            shown, counts = _until_nobody_was_faster(
                lambda batch=batch: actions.import_tasks(  # type: ignore[misc]
                    actor=actor, rows=batch, categories={**found, **ids}, preview=preview, now=now
                )
            )
            result.tasks += counts
            result.sample += shown[: SAMPLE - len(result.sample)]
            yield_slot()
    return result


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _refuse_too_many(actor: Actor, checked: _Checked, rows: Callable[[Reading], Rows], now: datetime) -> None:
    """Raises QuotaExceeded (403) before anything is written, when the file has more new tasks than there is room for.

    What is new is only looked for when all rows together are too many.
    """
    if checked.tasks <= _room(actor, "tasks"):
        return
    new = 0
    keys = {key: new_id() for key in checked.categories}
    for batch in _batches(rows):
        places = {row.category: new_id() for row in batch if row.category is not None}
        _, counts = actions.import_tasks(actor=actor, rows=batch, categories={**places, **keys}, preview=True, now=now)
        new += counts["created"]
        yield_slot()
    _refuse_beyond("tasks", new, actor)


def _room(actor: Actor, kind: str) -> int:
    """How many more tasks or categories the actor may store. Below 0 for someone who has more than the quota."""
    return LIMITS[kind] - counted_for(actor.user_id)[kind]


def _refuse_beyond(kind: str, new: int, actor: Actor) -> None:
    """Raises QuotaExceeded (403) when there is no room for so many more. None more never are too many."""
    if new > max(_room(actor, kind), 0):
        raise QuotaExceeded(kind, LIMITS[kind])


def _until_nobody_was_faster(action: Callable[[], T]) -> T:
    """Run an action again whose id or name someone else has taken while it ran. Raises Unavailable (503)."""
    for _ in range(TRIES):
        try:
            return action()
        except IntegrityError:
            continue
    raise Unavailable("Another import is writing the same tasks or categories. Try again in a second.")


def _check(rows: Rows, budget: Budget) -> _Checked:
    checked = _Checked()
    faults: list[FieldError] = []
    named: dict[str, str] = {}
    seen: set[int] = set()
    for number, row in enumerate(rows, 1):
        if number % CHECKED_ROWS == 0:
            budget.check()
        match row:
            case Faulty():
                faults.extend(row.faults)
            case IncomingCategory():
                checked.categories.setdefault(row.key, row)
            case IncomingTask():
                budget.charge(SECONDS_PER_TASK)
                if row.category is not None:
                    named.setdefault(row.category, row.place)
                mark = hash(row.fields.get("id", row.source))  # of 61 bits or more, and much smaller than an id
                if mark in seen:
                    faults.append(FieldError(f"{row.place}.id", "repeated", "Another row has the same id."))
                seen.add(mark)
        if max(len(checked.categories), len(named)) > MAX_CATEGORIES:
            faults.append(FieldError("categories", "too_many", f"A file may have {MAX_CATEGORIES} categories."))
        if len(seen) > MAX_TASKS:
            faults.append(FieldError("tasks", "too_many", f"A file may have {MAX_TASKS} tasks. Split it."))
        if len(faults) >= MAX_REPORTED or any(fault.code == "too_many" for fault in faults):
            break
    if faults:
        raise ValidationFailed(*faults)
    checked.tasks = len(seen)
    checked.elsewhere = {key: place for key, place in named.items() if key not in checked.categories}
    return checked


def _ids_elsewhere(actor: Actor, checked: _Checked) -> Mapping[str, UUID]:
    """The categories that the file names and does not have, which must be the actor's."""
    mine = {str(identifier): identifier for identifier in own_category_ids(actor, [*checked.elsewhere])}
    faults = [
        FieldError(f"{place}.category", "not_found", "There is no such category.")
        for key, place in checked.elsewhere.items()
        if key not in mine
    ]
    if faults:
        raise ValidationFailed(*faults)
    return mine


def _batches(rows: Callable[[Reading], Rows]) -> Iterator[list[IncomingTask]]:
    """The tasks in helpings that take little memory."""
    batch: list[IncomingTask] = []
    length = 0
    for row in rows(Reading()):
        if not isinstance(row, IncomingTask):
            continue
        if len(batch) == BATCH or length > BATCH_TEXT:
            yield batch
            batch, length = [], 0
        batch.append(row)
        length += len(row.fields.get("description", ""))
    if batch:
        yield batch
