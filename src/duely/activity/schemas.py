"""The change log as clients see it."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.db.models import TextField
from django.db.models.functions import Cast

from duely.api.filters import UUID_TEXT, Filter, Order, identifier, integer, moments, word
from duely.api.lists import Listing, Meta, Pagination
from duely.api.types import Instant
from duely.core.actor import Actor
from duely.core.permissions import Permission, allows

OldAndNew = Annotated[list[Any], msgspec.Meta(extra_json_schema={"items": {}})]
"""A value as it was and as it is."""


class ActivityActor(msgspec.Struct, frozen=True):
    """The user who made the change, with the name at that time."""

    id: UUID
    name: str


class ActivityTarget(msgspec.Struct, frozen=True):
    """The object that was changed. `label` is its name at that time."""

    type: str
    id: UUID | None
    label: str


class Activity(msgspec.Struct, frozen=True):
    """A change. `changes` contains `[old, new]` for each field. `actor` is null for changes by the system.

    `ip`, `user_agent` and `request_id` are null in changes that others made, except for admins.
    """

    id: UUID
    seq: int
    at: Instant
    actor: ActivityActor | None
    action: str
    target: ActivityTarget
    changes: dict[str, OldAndNew]
    ip: str | None
    user_agent: str | None
    request_id: str | None


class ActivityPage(msgspec.Struct, frozen=True):
    """A page of the change log."""

    data: list[Activity]
    pagination: Pagination
    meta: Meta


def show_activity(row: tuple[Any, ...], *, shows_origin: bool = False) -> Activity:
    """A row of `ACTIVITY.columns` as clients see it. Its instant is text, its changes are JSON already.

    shows_origin: with address, browser and request id of the actor.
    """
    (id_, seq, at, actor_id, actor_name, action, type_, target_id, label, changes, ip, user_agent, request_id) = row
    as_stored: Any = msgspec.Raw(changes.encode() if changes else b"null")
    return Activity(
        id=id_,
        seq=seq,
        at=at,
        actor=ActivityActor(actor_id, actor_name) if actor_id else None,
        action=action,
        target=ActivityTarget(type_, target_id, label),
        changes=as_stored,
        ip=ip if shows_origin else None,
        user_agent=user_agent if shows_origin else None,
        request_id=request_id if shows_origin else None,
    )


def show_activity_to(viewer: Actor) -> Callable[[tuple[Any, ...]], Activity]:
    """How the log is shown to this viewer: the origins of their own entries, and of all entries to admins.

    Other people's entries stand in one's log, so without this everyone would learn their addresses.
    """
    sees_all_origins = allows(viewer.role, Permission.LOG_VIEW_ORIGINS)
    viewer_id = str(viewer.id)

    def show(row: tuple[Any, ...]) -> Activity:
        actor_id = row[_ACTOR_ID]  # a text or a UUID, as the query gives it
        return show_activity(row, shows_origin=sees_all_origins or str(actor_id) == viewer_id)

    return show


ACTIVITY = Listing(
    name="activity",
    item=Activity,
    columns=(
        "id",
        "seq",
        "at",
        "actor_id",
        "actor_name",
        "action",
        "target_type",
        "target_id",
        "target_label",
        "changes",
        "ip",
        "user_agent",
        "request_id",
    ),
    show=show_activity,
    show_to=show_activity_to,
    filters=(
        Filter("action", "action", word, {"type": "string"}, suffixes=("ne",)),
        Filter(
            "target", "target_type", word, {"type": "string"}, description="Filters by the type of the changed object."
        ),
        Filter("target_id", "target_id", identifier, UUID_TEXT),
        Filter("actor", "actor_id", identifier, UUID_TEXT, suffixes=("isnull",)),
        Filter("seq", "seq", integer, {"type": "integer", "minimum": 0}, suffixes=("gte", "gt", "lte", "lt")),
        moments("at", "at"),
    ),
    orderings={"at": Order("at"), "seq": Order("seq")},
    default_order="-at,-seq",
    costly={"changes": Cast("changes", TextField())},
    long=("changes",),
)
_ACTOR_ID = ACTIVITY.columns.index("actor_id")
