"""Tasks and categories as clients send and see them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import partial, reduce
from operator import attrgetter, or_
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from django.db.models import Q
from msgspec import UNSET, UnsetType

from duely.api.bodies import Invalid, checked, far_year
from duely.api.filters import UUID_TEXT, Filter, Order, choices, flags, identifier, moments, text
from duely.api.lists import Listing, Meta, Pagination, Search
from duely.api.types import Instant, Parsed, one_of, text_of
from duely.core.actor import Actor
from duely.core.clock import OutOfRange, as_shown, parse_instant, rfc3339
from duely.core.errors import FieldError, ValidationFailed
from duely.tasks import models, queries, quick, rules
from duely.tasks.queries import TASK_COLUMNS
from duely.tasks.rules import PRIORITIES, RANKS, Priority, Status
from duely.tasks.search import MAX_TERMS, parse_search


def _short_list(raw: Any, longest: int, what: str = "strings") -> list[Any]:
    """A list, refused by its length before anything in it is looked at."""
    if not isinstance(raw, list):
        raise Invalid("invalid_type", f"Use a list of {what}.")
    if len(raw) > longest:
        raise Invalid("too_many", f"Use at most {longest} items.")
    return raw


class Title(Parsed[str]):
    """1 to 255 characters after trimming, no control characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": rules.MAX_TITLE}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=rules.MAX_TITLE, shortest=1)


class Description(Parsed[str]):
    """Markdown, at most 64 KiB. Stored unchanged."""

    schema = {"type": "string", "maxLength": rules.MAX_DESCRIPTION_BYTES}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        checked = text_of(raw, longest=rules.MAX_DESCRIPTION_BYTES, lines=True)
        if len(checked.encode("utf-8", "replace")) > rules.MAX_DESCRIPTION_BYTES:
            raise Invalid("too_long", "Use at most 64 KiB.")
        return checked


class DueDate(Parsed[date]):
    """A date (a whole day in the owner's time zone) or an instant."""

    schema = {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
        "examples": ["2026-01-31", "2026-01-31T09:00:00Z"],
    }

    @classmethod
    def read(cls, raw: Any) -> date:
        """Check it."""
        try:
            return rules.parse_due(raw if isinstance(raw, str) else "")
        except OutOfRange:
            raise far_year(rules.EARLIEST, rules.LATEST) from None
        except ValueError:
            raise Invalid("invalid_date", "Use 2026-01-31 or 2026-01-31T09:00:00Z.") from None


class Tags(Parsed[list[str]]):
    """Up to 20 tags of up to 50 characters. Case and Unicode form do not distinguish tags."""

    schema = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": rules.MAX_TAG_LENGTH},
        "maxItems": rules.MAX_TAGS,
    }

    @classmethod
    def read(cls, raw: Any) -> list[str]:
        """Check it. Of two tags that count as the same the first stays."""
        tags: dict[str, str] = {}
        for item in _short_list(raw, rules.MAX_TAGS):
            tag = text_of(item, longest=rules.MAX_TAG_LENGTH, shortest=1)
            if "," in tag:
                raise Invalid("invalid_format", "A tag must not contain a comma: filters use commas to separate tags.")
            tags.setdefault(rules.folded(tag), tag)
        return list(tags.values())


class Reminders(Parsed[list[str]]):
    """Up to 10 instants, or offsets before the due date such as `-PT30M`."""

    schema = {
        "type": "array",
        "items": {"type": "string", "examples": ["-PT30M", "2026-01-31T08:00:00Z"]},
        "maxItems": rules.MAX_REMINDERS,
    }

    @classmethod
    def read(cls, raw: Any) -> list[str]:
        """Check it; the same reminder twice counts once."""
        return list(dict.fromkeys(cls._one(item) for item in _short_list(raw, rules.MAX_REMINDERS)))

    @staticmethod
    def _one(item: Any) -> str:
        text = item if isinstance(item, str) else ""
        try:
            if text.startswith("-"):
                rules.parse_offset(text)
                return text.upper()
            return rfc3339(parse_instant(text))
        except OutOfRange:
            raise far_year() from None
        except ValueError:
            raise Invalid("invalid_reminder", "Use -PT30M, -P1D or 2026-01-31T08:00:00Z.") from None


class Color(Parsed[str]):
    """`#rrggbb`."""

    schema = {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$", "examples": ["#1f6f5c"]}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        if not isinstance(raw, str) or not re.fullmatch(r"#[0-9a-f]{6}", raw.lower(), re.ASCII):
            raise Invalid("invalid_format", "Use #rrggbb.")
        return raw.lower()


class CategoryName(Parsed[str]):
    """1 to 100 characters after trimming, no control characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": 100}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=100, shortest=1)


Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""The version that an edit was made from."""


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


class CreateOperation(TaskIn, forbid_unknown_fields=True, tag_field="op", tag="create"):
    """Create a task."""


class UpdateOperation(TaskPatch, forbid_unknown_fields=True, tag_field="op", tag="update", kw_only=True):
    """Change some fields of a task."""

    id: UUID


class DeleteOperation(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", tag="delete"):
    """Move a task to the trash."""

    id: UUID


Operation = CreateOperation | UpdateOperation | DeleteOperation
OPERATIONS: Mapping[str, type[Operation]] = {
    "create": CreateOperation,
    "update": UpdateOperation,
    "delete": DeleteOperation,
}


class Operations(Parsed[list[Operation | ValidationFailed]]):
    """1 to 100 operations. An invalid one is refused without affecting the others."""

    schema = {
        "type": "array",
        "minItems": 1,
        "maxItems": rules.MAX_OPERATIONS,
        "items": one_of("op", OPERATIONS),
    }

    @classmethod
    def read(cls, raw: Any) -> list[Operation | ValidationFailed]:
        """Check each."""
        operations = _short_list(raw, rules.MAX_OPERATIONS, "operations")
        if not operations:
            raise Invalid("required", "Send at least one operation.")
        return [cls._one(item) for item in operations]

    @staticmethod
    def _one(item: Any) -> Operation | ValidationFailed:
        if not isinstance(item, dict):
            return ValidationFailed(FieldError("", "invalid_type", "Use an object."))
        verb = item["op"].lower() if isinstance(item.get("op"), str) else ""
        kind = OPERATIONS.get(verb)
        if kind is None:
            fault = "invalid_choice" if "op" in item else "required"
            return ValidationFailed(FieldError("op", fault, f"Use one of: {', '.join(OPERATIONS)}."))
        try:
            return checked({**item, "op": verb}, kind)
        except ValidationFailed as refused:
            return refused


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """Operations on tasks. With `atomic` all are executed or none."""

    examples: ClassVar[Mapping[str, Any]] = {
        "two_tasks": {
            "operations": [
                {"op": "create", "title": "Buy milk", "tags": ["shop"]},
                {"op": "create", "title": "Pay the rent", "due_date": "2098-01-31"},
            ]
        },
        "all_or_none": {"operations": [{"op": "create", "title": "Buy bread"}], "atomic": True},
    }

    max_keys: ClassVar[int] = 2000
    operations: Operations
    atomic: bool = False  # allow: edge_transaction because it is the name of a field


ANY_BODY = {
    "anyOf": [{"$ref": "#/components/schemas/Task"}, {"$ref": "#/components/schemas/Problem"}, {"type": "null"}]
}


class BulkResult(msgspec.Struct, frozen=True):
    """The result of one operation: the status and body that a single request would have been answered with.

    The body is the task, null after a deletion, or a problem document.
    """

    status: int
    body: Annotated[Any, msgspec.Meta(extra_json_schema=ANY_BODY)]


class BulkResults(msgspec.Struct, frozen=True):
    """The results of the operations, in the same order."""

    results: list[BulkResult]


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


class QuickText(Parsed[str]):
    """One line of 1 to 1,000 characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": quick.MAX_TEXT}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=quick.MAX_TEXT, shortest=1)


class QuickTask(msgspec.Struct, forbid_unknown_fields=True):
    """A task as one line, such as `Pay rent tomorrow 9am #home @bank !high`. With `preview` no task is created."""

    examples: ClassVar[Mapping[str, Any]] = {
        "task": {"text": "Pay rent tomorrow 9am @bank !high"},
        "preview": {"text": "Pay rent tomorrow 9am @bank !high", "preview": True},
    }

    text: QuickText
    preview: bool = False


class QuickSpan(msgspec.Struct, frozen=True):
    """A part of the text that sets a field: from `start` up to but not including `end`, counted in code points.

    `value` is the value of the field. There may be several spans for `tags`.
    """

    start: int
    end: int
    text: str
    field: quick.Field
    value: str


class QuickPreview(msgspec.Struct, frozen=True):
    """The recognized parts of the text, and the remaining title."""

    title: str
    spans: list[QuickSpan]


def checked_title(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that were understood. Raises ValidationFailed (400) when too much is left for a title."""
    if len(fields["title"]) > rules.MAX_TITLE:
        about = f"{len(fields['title'])} characters are left for the title; use at most {rules.MAX_TITLE}."
        raise ValidationFailed(FieldError("text", "too_long", about))
    return fields


def show_preview(text: str, found: quick.Understood) -> QuickPreview:
    """What was understood of a text as clients see it."""
    spans = [
        QuickSpan(span.start, span.end, text[span.start : span.end], span.field, _shown(span.value))
        for span in found.spans
    ]
    return QuickPreview(found.fields["title"], spans)


def _shown(value: Any) -> str:
    return rfc3339(value) if isinstance(value, datetime) else str(value)


class CategoryCount(msgspec.Struct, frozen=True):
    """The number of tasks in a category. `category` is null for tasks without one."""

    category: UUID | None
    count: int


class DayCount(msgspec.Struct, frozen=True):
    """The number of tasks completed on a day."""

    date: date
    count: int


class Stats(msgspec.Struct, frozen=True):
    """Numbers of your tasks. `overdue` includes late tasks that are not marked yet; `due_today` counts open tasks only.

    `completed_per_day` covers the last 30 days in your time zone; today is last.
    """

    total: int
    by_status: dict[Status, int]
    by_priority: dict[Priority, int]
    by_category: list[CategoryCount]
    overdue: int
    due_today: int
    completed_per_day: list[DayCount]


def show_stats(stats: queries.Stats) -> Stats:
    """Counts as clients see them."""
    return Stats(
        total=sum(stats.statuses.values()),
        by_status={Status(name): number for name, number in stats.statuses.items()},
        by_priority={PRIORITIES[rank]: number for rank, number in stats.priorities.items()},
        by_category=[CategoryCount(*pair) for pair in sorted(stats.categories.items(), key=_most_first)],
        overdue=stats.overdue,
        due_today=stats.due_today,
        completed_per_day=[DayCount(*pair) for pair in stats.days.items()],
    )


def _most_first(counted: tuple[UUID | None, int]) -> tuple[int, str]:
    return -counted[1], str(counted[0])


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


def _tagged(_lookup: str, tag: str) -> Q:
    keys = {rules.folded(tag), rules.former_key(tag)}
    return reduce(or_, [Q(tag_keys__has_item=key) for key in sorted(keys)])


def _named(_lookup: str, name: str) -> Q:
    keys = {rules.folded(name), rules.former_key(name)}
    return reduce(or_, [Q(name_key=key) for key in sorted(keys)])


def _search(raw: str, actor: Actor) -> Search:
    wanted = text(raw, actor)
    try:
        terms = parse_search(wanted)
    except ValueError:
        raise Invalid("too_many", f"Use at most {MAX_TERMS} words or phrases.") from None
    if not terms:
        raise Invalid("invalid_format", "Use at least one word.")
    return partial(queries.found_tasks, actor=actor, terms=terms)


TASKS = Listing(
    name="tasks",
    item=Task,
    columns=TASK_COLUMNS,
    show=show_task,
    filters=(
        choices("status", "status", Status),
        flags(
            "completed",
            lambda yes: Q(status=Status.COMPLETED) if yes else ~Q(status=Status.COMPLETED),
            "Filters by whether the task is completed.",
        ),
        choices("priority", "priority", Priority, ranks=RANKS),
        Filter("category", "category_id", identifier, UUID_TEXT, suffixes=("ne", "isnull")),
        Filter("owner", "owner_id", identifier, UUID_TEXT, suffixes=("ne",)),
        Filter(
            "tag",
            "tag_keys",
            text,
            {"type": "string", "minLength": 1, "maxLength": rules.MAX_TAG_LENGTH},
            suffixes=("ne",),
            description="Filters by a tag. Case and Unicode form do not matter.",
            select=_tagged,
        ),
        moments("due_date", "due_at", nullable=True),
        moments("completed_at", "completed_at", nullable=True),
        moments("created_at", "created_at"),
        moments("updated_at", "updated_at"),
    ),
    orderings={
        "created_at": Order("created_at"),
        "updated_at": Order("updated_at"),
        "due_date": Order("due_at", nullable=True),
        "completed_at": Order("completed_at", nullable=True),
        "priority": Order("priority"),
        "title": Order("title"),
        "status": Order("status"),
        "id": Order("id"),
    },
    default_order="-created_at",
    search=_search,
    costly={"description": "description"},
    long=("description",),
)


TRASH = replace(
    TASKS,
    name="trash",
    filters=(*TASKS.filters, moments("deleted_at", "deleted_at")),
    orderings={"deleted_at": Order("deleted_at"), **TASKS.orderings},
    default_order="-deleted_at",
    search=None,
)


class CategoryFields(msgspec.Struct, forbid_unknown_fields=True):
    """All writable fields of a category."""

    name: CategoryName
    color: Color | UnsetType = UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | UnsetType = UNSET


class CategoryPut(CategoryFields, forbid_unknown_fields=True):
    """All writable fields of a category. Missing fields get their defaults. `version` works as for a task."""

    examples: ClassVar[Mapping[str, Any]] = {"category": {"name": "Home", "color": "#1f6f5c", "position": 1}}

    version: Version | UnsetType = UNSET


class NewCategory(CategoryFields, forbid_unknown_fields=True):
    """A new category. The client may choose `id`."""

    examples: ClassVar[Mapping[str, Any]] = {
        "name_alone": {"name": "Errands"},
        "with_a_color": {"name": "Garden", "color": "#1f6f5c"},
    }

    id: UUID | UnsetType = UNSET


class CategoryPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Changes of a category. Missing fields stay unchanged. `version` works as for a task."""

    examples: ClassVar[Mapping[str, Any]] = {"color": {"color": "#1f6f5c"}, "first": {"position": 0}}

    name: CategoryName | UnsetType = UNSET
    color: Color | UnsetType = UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    version: Version | UnsetType = UNSET


class CategoryPath(msgspec.Struct):
    """The id of the category."""

    category_id: UUID


class Category(msgspec.Struct, frozen=True):
    """A category. `task_count` does not count tasks in the trash."""

    id: UUID
    owner: UUID
    name: str
    color: str
    position: int
    task_count: int
    version: int
    created_at: Instant
    updated_at: Instant


class CategoryPage(msgspec.Struct, frozen=True):
    """A page of categories."""

    data: list[Category]
    pagination: Pagination
    meta: Meta


CATEGORY_COLUMNS = (
    "id",
    "owner_id",
    "name",
    "color",
    "position",
    "task_count",
    "version",
    "created_at",
    "updated_at",
)


def show_category(row: tuple[Any, ...]) -> Category:
    """A row of `CATEGORY_COLUMNS`, its instants as text, as clients see it."""
    id_, owner_id, name, color, position, task_count, version, created_at, updated_at = row
    return Category(
        id=id_,
        owner=owner_id,
        name=name,
        color=color,
        position=position,
        task_count=task_count,
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


def category_of(category: models.Category) -> Category:
    """A stored category (with its `task_count`) as clients see it."""
    return show_category(as_shown(getattr(category, column) for column in CATEGORY_COLUMNS))


CATEGORIES = Listing(
    name="categories",
    item=Category,
    columns=CATEGORY_COLUMNS,
    show=show_category,
    filters=(
        Filter("name", "name", text, {"type": "string"}, select=_named),
        Filter("owner", "owner_id", identifier, UUID_TEXT, suffixes=("ne",)),
        moments("created_at", "created_at"),
        moments("updated_at", "updated_at"),
    ),
    orderings={
        "position": Order("position"),
        "name": Order("name"),
        "created_at": Order("created_at"),
        "updated_at": Order("updated_at"),
    },
    default_order="position",
    costly={"task_count": "task_count"},
)
