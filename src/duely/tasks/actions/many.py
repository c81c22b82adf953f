"""What people do with many tasks at once. Each change has its entry in the change log."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from duely.activity.actions import Changes, Entry, record_many
from duely.api.versions import NOTHING, EditConflict, Expected
from duely.core.actor import Actor
from duely.core.errors import FieldError, Refused, ValidationFailed
from duely.core.permissions import Permission, require
from duely.database.slots import pause
from duely.jobs.pace import Pace
from duely.tasks import edits, reminders, statements
from duely.tasks.access import Locked, lock_for_changes
from duely.tasks.edits import Fields
from duely.tasks.models import Task
from duely.tasks.queries import own_tasks
from duely.tasks.rules import Verb

MOST = 2_000
"""Tasks that one request moves to the trash. Each has an entry of some 350 bytes in the log."""
MOST_SHOWN = 1024 * 1024
"""Characters of descriptions that one answer has."""
MOST_TEXT = 1024 * 1024
"""Characters that one request has indexed, as many as a request can bring."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One of many changes. `task_id` of an update or a deletion, `fields` of what is made or changed."""

    verb: Verb
    task_id: UUID | None = None
    fields: Fields = field(default_factory=dict)
    expected: Expected = NOTHING


@dataclass(frozen=True, slots=True)
class Done:
    """An operation that was done, and the task as it left it."""

    verb: Verb
    task: Task


Asked = Operation | Refused
"""An operation, or why it cannot be one."""
Outcome = Done | Refused
"""What was done, or why it was refused."""


class BulkRefused(Refused):
    """With `atomic`, one refused operation undoes all. `results` says which ones were refused, and why."""

    code = "bulk_refused"
    status = 422
    title = "None of the operations was executed."
    members = {"results": {"type": "array", "items": {"$ref": "#/components/schemas/BulkResult"}}}

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        number = sum(isinstance(outcome, Refused) for outcome in outcomes)
        text = f"{number} of {len(outcomes)} {'was' if number == 1 else 'were'} refused. `results` says which, and why."
        super().__init__(text)
        self.outcomes = [outcome if isinstance(outcome, Refused) else NotDone() for outcome in outcomes]


class NotDone(Refused):
    """The operation itself is valid, but another one was refused and `atomic` was set."""

    code = "not_done"
    status = 424
    title = "Not executed, because another operation was refused."


def change_tasks(*, actor: Actor, asked: Sequence[Asked], atomic: bool, now: datetime) -> list[Outcome]:
    """Do these operations in their order, each as if by itself; with `atomic`, all of them or none.

    What is refused leaves nothing behind. Raises Forbidden (403), BulkRefused (422), ValidationFailed (400) for more
    text than is indexed at once.
    Records task.created, task.updated, task.status_changed and task.deleted.
    """
    taken: set[UUID] = set()
    while True:
        try:
            with transaction.atomic():
                many = _planned(actor, asked, taken, now)
                _refuse_much_to_show(many.outcomes)
                if atomic and any(isinstance(outcome, Refused) for outcome in many.outcomes):
                    raise BulkRefused(many.outcomes)
                _write(actor, many, now)
            return many.outcomes
        except IntegrityError:
            # Someone has an id that was chosen here. It is looked for only now, because hardly anyone ever has.
            more = _taken_ids(asked) - taken
            if not more:
                raise
            taken |= more


def delete_all_tasks(*, actor: Actor, now: datetime) -> tuple[int, bool]:
    """Move all of the actor's own tasks to the trash that were made by now, MOST of them at once.

    In short transactions, so that others get their turn. Returns how many went, and whether there are more.
    Raises Forbidden (403). Records task.deleted for each.
    """
    require(actor, Permission.TASK_EDIT)
    deleted, pace = 0, Pace(pause)
    while deleted < MOST:
        with pace.step() as limit:
            wanted = min(limit, MOST - deleted)
            number = _delete_batch(actor, now, wanted)
        deleted += number
        if number < wanted:
            return deleted, False
    return deleted, True


@transaction.atomic
def _delete_batch(actor: Actor, now: datetime, limit: int) -> int:
    tasks = list(own_tasks(actor, now, limit))
    if tasks:
        entries = [Entry("task.deleted", task, edits.deletion_of(now)) for task in tasks]
        writes = statements.update_alike("deleted_at = %s", [task.id for task in tasks], now, statements.stored(now))
        record_many(actor, entries, at=now, writes=writes)
    return len(tasks)


@dataclass(slots=True)
class _Many:
    """What the operations come to, in memory.

    `former`: each task that is changed, as it was; `made`: the new ones; `recent`: the fields that each change of a
    task changed.
    """

    locked: Locked
    taken: Collection[UUID]
    outcomes: list[Outcome] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    former: dict[UUID, Task] = field(default_factory=dict)
    made: dict[UUID, Task] = field(default_factory=dict)
    recent: dict[UUID, list[Collection[str]]] = field(default_factory=dict)

    def zone_of(self, task: Task) -> str:
        """Its owner's time zone."""
        return self.locked.zones[task.owner_id]

    def change(self, task: Task, changes: Changes, columns: Mapping[str, Any], now: datetime) -> Task:
        """Change a task; returns it as it is now, for the log."""
        if task.id not in self.made:
            self.former.setdefault(task.id, copy(task))
        edits.assign(task, {**columns, "version": task.version + 1, "updated_at": now})
        self.recent.setdefault(task.id, []).append(changes.keys())
        return copy(task)


def _planned(actor: Actor, asked: Sequence[Asked], taken: Collection[UUID], now: datetime) -> _Many:
    good = [operation for operation in asked if isinstance(operation, Operation)]
    locked = lock_for_changes(
        actor,
        owners=_named(operation.fields.get("owner") for operation in good),
        tasks=_named(operation.task_id for operation in good),
        categories=_named(operation.fields.get("category") for operation in good),
    )
    many = _Many(locked, taken)
    for operation in asked:
        many.outcomes.append(operation if isinstance(operation, Refused) else _outcome(actor, many, operation, now))
    return many


def _named(ids: Iterable[UUID | None]) -> set[UUID]:
    return {identifier for identifier in ids if identifier is not None}


def _outcome(actor: Actor, many: _Many, operation: Operation, now: datetime) -> Outcome:
    try:
        return Done(operation.verb, copy(_DO[operation.verb](actor, many, operation, now)))
    except EditConflict as refused:
        refused.row = copy(refused.row)  # as it is now, whatever a later operation makes of it
        return refused
    except Refused as refused:
        return refused


def _create(actor: Actor, many: _Many, operation: Operation, now: datetime) -> Task:
    fields, locked = operation.fields, many.locked
    owner_id = fields.get("owner") or actor.user_id
    zone = locked.zone_for(actor, owner_id)
    locked.check_category(fields.get("category"), owner_id)
    task = edits.new_task(owner_id, zone, fields, now)
    if task.id in many.taken or task.id in locked.tasks:
        raise edits.id_taken()
    locked.tasks[task.id] = many.made[task.id] = task
    many.entries.append(Entry("task.created", copy(task), edits.news(task)))
    return task


def _update(_: Actor, many: _Many, operation: Operation, now: datetime) -> Task:
    task = many.locked.task_for(operation.task_id)
    many.locked.check_category(operation.fields.get("category"), task.owner_id)
    recent = many.recent.get(task.id, [])
    changes, columns = edits.planned(task, operation.fields, operation.expected, many.zone_of(task), now, recent=recent)
    if columns:
        action = "task.status_changed" if "status" in changes else "task.updated"
        many.entries.append(Entry(action, many.change(task, changes, columns, now), changes))
    return task


def _delete(_: Actor, many: _Many, operation: Operation, now: datetime) -> Task:
    task = many.locked.task_for(operation.task_id)
    changes = edits.deletion_of(now)
    many.entries.append(Entry("task.deleted", many.change(task, changes, {"deleted_at": now}, now), changes))
    return task


_DO: Mapping[Verb, Callable[[Actor, _Many, Operation, datetime], Task]] = {
    Verb.CREATE: _create,
    Verb.UPDATE: _update,
    Verb.DELETE: _delete,
}


def _write(actor: Actor, many: _Many, now: datetime) -> None:
    """Everything at once: few statements, however many tasks."""
    if not many.entries:
        return
    made = list(many.made.values())
    changed = [(many.former[key], many.locked.tasks[key]) for key in many.former]
    moved = [
        (task, many.zone_of(task), former.reminders)
        for former, task in changed
        if (former.due_at, former.reminders) != (task.due_at, task.reminders)
    ]
    reminders.place_reminders([*((task, many.zone_of(task), ()) for task in made), *moved], now)
    searched = edits.with_new_words(changed)
    _refuse_much_text(searched)
    _refuse_much_text([former for former, task in changed if former.description != task.description])
    record_many(actor, many.entries, at=now, writes=statements.writes_of(made, changed, searched))


def _refuse_much_to_show(outcomes: Sequence[Outcome]) -> None:
    """A few bytes could else be answered with megabytes."""
    done = (outcome for outcome in outcomes if isinstance(outcome, Done) and outcome.verb is not Verb.DELETE)
    length = sum(len(outcome.task.description) for outcome in done)
    if length > MOST_SHOWN:
        about = f"The descriptions of the tasks have {length} characters in total. One answer holds {MOST_SHOWN}."
        raise ValidationFailed(FieldError("operations", "too_long", f"{about} Change fewer tasks at once."))


def _refuse_much_text(tasks: Sequence[Task]) -> None:
    """A few bytes could else have megabytes indexed anew, or copied into the log as what was there before."""
    length = sum(len(task.description) for task in tasks)
    if length > MOST_TEXT:
        about = f"The descriptions of the tasks have {length} characters in total. One request can change {MOST_TEXT}."
        raise ValidationFailed(FieldError("operations", "too_long", f"{about} Change fewer tasks at once."))


def _taken_ids(asked: Sequence[Asked]) -> set[UUID]:
    chosen = _named(each.fields.get("id") for each in asked if isinstance(each, Operation))
    return set(Task.objects.filter(pk__in=chosen).values_list("pk", flat=True))
