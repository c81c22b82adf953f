"""Tasks and categories as clients send and see them."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from duely.api.bodies import Invalid
from duely.api.lists import Meta, Pagination
from duely.api.types import Instant, Parsed
from duely.core.clock import as_shown
from duely.tasks import models, rules
from duely.tasks.fields import Description, DueDate, Reminders, Tags, Title, Version
from duely.tasks.queries import TASK_COLUMNS
from duely.tasks.rules import PRIORITIES, Priority, Status


class TaskFields(msgspec.Struct, forbid_unknown_fields=True):
    """All writable fields of a task."""

    title: Title
    description: Description | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    completed: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_date: DueDate | UnsetType | None = UNSET
    category: UUID | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    reminders: Reminders | UnsetType = UNSET


class TaskPut(TaskFields, forbid_unknown_fields=True):
    """All writable fields of a task. Missing fields get their defaults.

    `version` is the version that was edited. The request is refused if the same fields were changed after it.
    """

    examples: ClassVar[Mapping[str, Any]] = {
        "task": {"title": "Pay the rent", "priority": "high", "due_date": "2098-01-31"}
    }

    version: Version | UnsetType = UNSET


class TaskIn(TaskFields, forbid_unknown_fields=True):
    """A new task. The client may choose `id`. Admins may set `owner`."""

    examples: ClassVar[Mapping[str, Any]] = {
        "title_alone": {"title": "Buy milk"},
        "whole_day": {"title": "Pay the rent", "due_date": "2098-01-31", "priority": "high", "tags": ["home"]},
        "at_a_time": {
            "title": "Call the bank",
            "description": "Ask for a **new card**.",
            "due_date": "2098-01-31T09:00:00Z",
            "reminders": ["-PT30M"],
        },
    }

    id: UUID | UnsetType = UNSET
    owner: UUID | UnsetType = UNSET


class TaskPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of a task. Missing fields stay unchanged; `null` clears `due_date` and `category`.

    `version` is the version that was edited. The request is refused if the same fields were changed after it.
    """

    examples: ClassVar[Mapping[str, Any]] = {
        "completed": {"status": "completed"},
        "due_date": {"due_date": "2098-02-01", "priority": "urgent"},
        "no_due_date": {"due_date": None},
    }

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    completed: bool | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_date: DueDate | UnsetType | None = UNSET
    category: UUID | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    reminders: Reminders | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class Meant(Parsed[bool]):
    """Only `true` will do."""

    schema = {"type": "boolean", "const": True, "description": "Confirms the deletion. Must be `true`."}

    @classmethod
    def read(cls, raw: Any) -> bool:
        """Check it."""
        if not isinstance(raw, str) or raw.lower() != "true":
            raise Invalid("invalid_choice", "Send confirm=true: this deletes all your tasks, or your whole trash.")
        return True


class Confirmation(msgspec.Struct):
    """Confirms a deletion of everything."""

    confirm: Meant


class Deleted(msgspec.Struct, frozen=True):
    """The number of tasks moved to the trash. If `has_more` is true, repeat the request."""

    deleted: int
    has_more: bool


class Purged(msgspec.Struct, frozen=True):
    """The number of tasks deleted permanently. If `has_more` is true, repeat the request."""

    purged: int
    has_more: bool


class TaskPath(msgspec.Struct):
    """The id of the task."""

    task_id: UUID


class Task(msgspec.Struct, frozen=True):
    """A task. `completed` is true when `status` is `completed`. `due_date` has the form in which it was sent."""

    id: UUID
    owner: UUID
    title: str
    description: str
    status: Status
    completed: bool
    completed_at: Instant | None
    priority: Priority
    due_date: str | None
    category: UUID | None
    tags: list[str]
    reminders: list[str]
    version: int
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None


def show_task(row: tuple[Any, ...]) -> Task:
    """A row of `TASK_COLUMNS`, its instants as text, as clients see it."""
    id_, owner_id, title, description, status, completed_at, rank, due_on, due_at, category_id, *others = row
    # By their places: to give a value by its name takes twice as long, and a page of tasks has hundreds.
    return Task(
        id_,
        owner_id,
        title,
        description,
        status,
        status == _COMPLETED,
        completed_at,
        PRIORITIES[rank],
        rules.show_due(due_on, due_at),
        category_id,
        *others,
    )


_COMPLETED = Status.COMPLETED.value


def task_of(task: models.Task) -> Task:
    """A stored task as clients see it."""
    return show_task(as_shown(_columns_of(task)))


_columns_of = attrgetter(*TASK_COLUMNS)


class TaskPage(msgspec.Struct, frozen=True):
    """A page of tasks."""

    data: list[Task]
    pagination: Pagination
    meta: Meta
