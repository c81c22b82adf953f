"""The lists of tasks and of the trash: filters, orderings, search."""

from dataclasses import replace
from functools import partial, reduce
from operator import or_

from django.db.models import Q

from duely.api.bodies import Invalid
from duely.api.filters import UUID_TEXT, Filter, Order, choices, flags, identifier, moments, text
from duely.api.lists import Listing, Search
from duely.core.actor import Actor
from duely.tasks import rules, search
from duely.tasks.queries import TASK_COLUMNS
from duely.tasks.rules import RANKS, Priority, Status
from duely.tasks.schemas import Task, show_task
from duely.tasks.words import MAX_TERMS, parse_search


def _tagged(_lookup: str, tag: str) -> Q:
    keys = {rules.folded(tag), rules.former_key(tag)}
    return reduce(or_, [Q(tag_keys__has_item=key) for key in sorted(keys)])


def named(_lookup: str, name: str) -> Q:
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
    return partial(search.found_tasks, actor=actor, terms=terms)


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
