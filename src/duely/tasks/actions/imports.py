"""What comes in from files: the actor's own, without a difference when it comes again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from duely.activity.actions import Entry, record_many
from duely.activity.queries import last_changes_by_people
from duely.core.actor import Actor
from duely.core.clock import parse_instant, rfc3339
from duely.core.ids import derived_id, new_id
from duely.database.statements import Statement, bulk_insert_statement, update_statement
from duely.tasks import edits, reminders, statements
from duely.tasks.access import Places, own_categories, places_for
from duely.tasks.actions.categories import CATEGORY_DEFAULTS
from duely.tasks.edits import TASK_DEFAULTS, Fields
from duely.tasks.models import Category, Task
from duely.tasks.queries import ids_taken
from duely.tasks.rules import RANKS, IncomingCategory, IncomingTask, folded, placed, standing_of

AT_ONCE = 500
"""Categories in one statement. With 8 values each that is far below the 32,766 that SQLite takes."""
CREATED, UPDATED, UNCHANGED, KEPT = "created", "updated", "unchanged", "kept"
"""What becomes of a row: `kept` is one that has changed here since the file was written, and stays as it is."""


@transaction.atomic
def import_categories(
    *, actor: Actor, rows: Sequence[IncomingCategory], preview: bool = False, now: datetime
) -> tuple[dict[str, UUID], Counter[str]]:
    """Bring in categories; returns their ids by their keys, and how many became what.

    One with an id that the actor has is that one, else one with the same name. With `preview` nothing is written.
    Records category.created and category.updated.
    """
    mine = {category.id: category for category in own_categories(actor, lock=not preview)}
    named = {category.name_key: category for category in mine.values()}
    taken = ids_taken(Category, [row.fields["id"] for row in rows if "id" in row.fields], actor)
    found: dict[str, UUID] = {}
    counts: Counter[str] = Counter()
    entries: list[Entry] = []
    made: list[Category] = []
    updates: list[Statement] = []
    for row in rows:
        wanted = {**CATEGORY_DEFAULTS, **row.fields}
        category_id = _own_id(actor, wanted["id"], taken) if "id" in wanted else None
        there = mine.get(category_id) if category_id else None
        there = there or named.get(folded(wanted["name"]))
        if there is None:
            there = _new_category(actor, category_id or new_id(), wanted, now)
            made.append(there)
            entries.append(Entry("category.created", there, edits.category_news(there)))
            mine[there.id] = named[there.name_key] = there
            counts[CREATED] += 1
        else:
            changes = _newer(there, wanted, named)
            if changes:
                log = {name: [getattr(there, name), wanted[name]] for name in changes if name != "name_key"}
                updates.append(update_statement(there, {**changes, "version": there.version + 1, "updated_at": now}))
                entries.append(Entry("category.updated", there, log))
                named[there.name_key] = there
            counts[UPDATED if changes else _same(there, wanted)] += 1
        found[row.key] = there.id
    if entries and not preview:
        writes = [bulk_insert_statement(made[at : at + AT_ONCE]) for at in range(0, len(made), AT_ONCE)]
        record_many(actor, entries, at=now, writes=[*writes, *updates])
    return found, counts


def _own_id(actor: Actor, given: UUID, taken: frozenset[UUID]) -> UUID:
    """The id that a row gets: its own, unless someone else has that; then one that follows from both."""
    return derived_id(str(actor.user_id), str(given)) if given in taken else given


def _new_category(actor: Actor, category_id: UUID, wanted: Mapping[str, Any], now: datetime) -> Category:
    created_at = wanted.get("created_at", now)
    return Category(
        id=category_id,
        owner_id=actor.user_id,
        name=wanted["name"],
        name_key=folded(wanted["name"]),
        color=wanted["color"],
        position=wanted["position"],
        version=wanted.get("version", 1),
        created_at=created_at,
        updated_at=wanted.get("updated_at", created_at),
    )


_OF_CATEGORY = ("name", "color", "position")


def _newer(there: Category, wanted: Mapping[str, Any], named: Mapping[str, Category]) -> dict[str, Any]:
    """The columns that a file has changed since; a name that another one has by now stays."""
    if "id" not in wanted or wanted.get("updated_at", there.updated_at) <= there.updated_at:
        return {}
    changes = {name: wanted[name] for name in _OF_CATEGORY if getattr(there, name) != wanted[name]}
    if "name" in changes:
        key = folded(changes["name"])
        if named.get(key, there) is not there:
            del changes["name"]
        else:
            changes["name_key"] = key
    return changes


def _same(there: Category, wanted: Mapping[str, Any]) -> str:
    """Whether a row is what is there, as far as the file says."""
    is_same = "id" not in wanted or all(getattr(there, name) == wanted[name] for name in _OF_CATEGORY)
    return UNCHANGED if is_same else KEPT


@transaction.atomic
def import_tasks(
    *,
    actor: Actor,
    rows: Sequence[IncomingTask],
    categories: Mapping[str, UUID],
    preview: bool = False,
    now: datetime,
) -> tuple[list[Task], Counter[str]]:
    """Bring in tasks; returns them as they are then, and how many became what.

    categories: ids by the keys that rows have. One with an id that the actor has is that one: it changes when the file
    is newer, and one of another program when moreover nobody has changed it here (decision 0040). No two rows may have
    the same id. With `preview` nothing is written.
    Records task.created, task.updated, task.status_changed, task.deleted and task.restored.
    """
    drawers = {categories[row.category] for row in rows if row.category is not None}
    ids = [row.fields.get("id") or derived_id(str(actor.user_id), row.source) for row in rows]
    places = places_for(actor, ids, drawers, lock=not preview)
    if places.taken:
        ids = [_own_id(actor, given, places.taken) for given in ids]
        places = places_for(actor, ids, drawers, lock=not preview)
    counts: Counter[str] = Counter()
    entries: list[Entry] = []
    made: list[Task] = []
    changed: list[tuple[Task, Task]] = []
    shown: list[Task] = []
    tasks = [
        _task(actor, task_id, row.fields, _category_id(row, categories, places), places.zone, now)
        for task_id, row in zip(ids, rows, strict=True)
    ]
    for row, task in zip(rows, tasks, strict=True):
        _keep_what_the_file_leaves_open(row, task, places.tasks.get(task.id))
    followed = _followed(actor, rows, tasks, places)
    for row, task in zip(rows, tasks, strict=True):
        there = places.tasks.get(task.id)
        shown.append(task if there is None else there)
        if there is None:
            made.append(task)
            entries.append(Entry("task.created", task, {**edits.news(task), **_gone(task)}))
            counts[CREATED] += 1
        elif not _differing(there, task):
            counts[UNCHANGED] += 1
        elif _is_newer(row, there) or task.id in followed:
            changes = _changes(there, task)
            if row.follows:
                changes["imported"] = [None, rfc3339(task.updated_at)]
            action = (
                ("task.deleted" if task.deleted_at else "task.restored")
                if "deleted_at" in changes
                else ("task.status_changed" if "status" in changes else "task.updated")
            )
            version = there.version + 1
            edits.assign(task, {"version": version, "created_at": there.created_at, "updated_at": now})
            task.words_version = version if changes.keys() & edits.SEARCHED else there.words_version
            changed.append((there, task))
            entries.append(Entry(action, task, changes))
            shown[-1] = task
            counts[UPDATED] += 1
        else:
            counts[KEPT] += 1
    if entries and not preview:
        _write(actor, made, changed, entries, places.zone, now)
    return shown, counts


def _category_id(row: IncomingTask, categories: Mapping[str, UUID], places: Places) -> UUID | None:
    """The category of a row; None where it was deleted while the file was read."""
    category_id = categories[row.category] if row.category is not None else None
    return category_id if category_id in places.categories else None


def _keep_what_the_file_leaves_open(row: IncomingTask, task: Task, there: Task | None) -> None:
    """A file that does not say when a task was completed does not say anything new about it."""
    if there is not None and there.completed_at and task.completed_at and "completed_at" not in row.fields:
        task.completed_at = there.completed_at


def _is_newer(row: IncomingTask, there: Task) -> bool:
    """Whether a row of ours was changed after what is there."""
    return "id" in row.fields and row.fields.get("updated_at", there.updated_at) > there.updated_at


def _followed(actor: Actor, rows: Sequence[IncomingTask], tasks: Sequence[Task], places: Places) -> frozenset[UUID]:
    """The tasks of another program that nobody has changed here since they came, and that the file has newer.

    The log says so: the last change that a person made is the import, which says how new its file was.
    """
    candidates: dict[UUID, IncomingTask] = {}
    for row, task in zip(rows, tasks, strict=True):
        there = places.tasks.get(task.id)
        if row.follows and there is not None and _differing(there, task):
            candidates[task.id] = row
    followed = set()
    for task_id, (action, changes) in last_changes_by_people(actor.user_id, candidates).items():
        there, updated_at = places.tasks[task_id], candidates[task_id].fields.get("updated_at")
        if action == "task.created":
            # What the clock did to it since is no change of the task: then nothing tells how old the file was.
            known = there.updated_at if there.version == 1 else None
        elif "imported" in changes:
            known = parse_instant(changes["imported"][1])
        else:
            continue
        if updated_at is None or known is None or updated_at > known:
            followed.add(task_id)
    return frozenset(followed)


def _task(actor: Actor, task_id: UUID, fields: Fields, category_id: UUID | None, zone: str, now: datetime) -> Task:
    """The row, not yet stored, of a task as a file has it."""
    wanted = {**TASK_DEFAULTS, **fields}
    due: date | None = wanted["due_date"]
    due_at = placed(due, zone) if due else None
    created_at = wanted.get("created_at", now)
    updated_at = wanted.get("updated_at", max(created_at, wanted.get("completed_at") or created_at))
    standing = standing_of(wanted, due_at, updated_at, now)
    return Task(
        id=task_id,
        owner_id=actor.user_id,
        title=wanted["title"],
        description=wanted["description"],
        status=standing.status.value,
        former_status=standing.former.value if standing.former else None,
        completed_at=standing.completed_at,
        priority=RANKS[wanted["priority"]],
        due_on=None if isinstance(due, datetime) else due,
        due_at=due_at,
        category_id=category_id,
        tags=wanted["tags"],
        tag_keys=[folded(tag) for tag in wanted["tags"]],
        reminders=wanted["reminders"],
        version=wanted.get("version", 1),
        words_version=wanted.get("version", 1),
        created_at=created_at,
        updated_at=updated_at,
        deleted_at=wanted.get("deleted_at"),
    )


def _differing(there: Task, task: Task) -> bool:
    """Whether what a file says of a task is not what is there."""
    return (edits.logged(there), there.former_status, there.deleted_at) != (
        edits.logged(task),
        task.former_status,
        task.deleted_at,
    )


def _changes(there: Task, task: Task) -> dict[str, list[Any]]:
    changes = edits.differences(edits.logged(there), edits.logged(task))
    if there.deleted_at != task.deleted_at:
        changes["deleted_at"] = [_instant(there.deleted_at), _instant(task.deleted_at)]
    return changes


def _gone(task: Task) -> dict[str, list[Any]]:
    """What the change log says of a new task that is in the trash."""
    return {"deleted_at": [None, _instant(task.deleted_at)]} if task.deleted_at else {}


def _instant(at: datetime | None) -> str | None:
    return rfc3339(at) if at else None


def _write(
    actor: Actor,
    made: list[Task],
    changed: list[tuple[Task, Task]],
    entries: list[Entry],
    zone: str,
    now: datetime,
) -> None:
    had = ((task, zone, there.reminders) for there, task in changed)
    reminders.place_reminders([*((task, zone, ()) for task in made), *had], now)
    record_many(actor, entries, at=now, writes=statements.writes_of(made, changed, edits.with_new_words(changed)))
