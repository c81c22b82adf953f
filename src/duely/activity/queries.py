"""Reads of the change log."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Max, QuerySet

from duely.activity.models import Change, Counter
from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.quotas import LIMITS
from duely.core.scopes import scope
from duely.database.compiled import Visible


def all_changes() -> QuerySet[Change]:
    """The whole log."""
    return Change.objects.all()


def visible_changes(actor: Actor) -> Visible:
    """The log of what is the actor's; for those who see everything, the whole of it. Raises Forbidden (403)."""
    return Visible(all_changes, scope(actor, Permission.LOG_VIEW))


def log_of(owner_id: UUID) -> QuerySet[Change]:
    """The log of one owner, for what follows from it. For a caller to read: `visible_changes`."""
    return Change.objects.filter(owner_id=owner_id)  # allow: own_visibility because no caller sees these rows


def counters_of(owner_id: UUID) -> QuerySet[Counter]:
    """The counter of one owner's log, if there is one yet."""
    return Counter.objects.filter(owner_id=owner_id)  # allow: own_visibility because no caller sees these rows


def fields_of_last(owner_id: UUID, target_id: UUID, many: int) -> set[str]:
    """The fields that the last so many changes of a thing changed."""
    entries = log_of(owner_id).filter(target_id=target_id).order_by("-seq")
    return {name for changes in entries.values_list("changes", flat=True)[:many] for name in changes}


LastChange = tuple[str, Mapping[str, Sequence[Any]]]
"""An action, and what it changed."""


def last_changes_by_people(owner_id: UUID, targets: Collection[UUID]) -> dict[UUID, LastChange]:
    """The last change of each of these things that a person made, and not the system."""
    if not targets:
        return {}
    by_people = log_of(owner_id).filter(target_id__in=targets, actor_id__isnull=False)
    last = by_people.values("target_id").annotate(last=Max("seq")).values_list("last", flat=True)
    entries = log_of(owner_id).filter(seq__in=list(last))
    rows = entries.values_list("target_id", "action", "changes")
    return {target_id: (action, changes) for target_id, action, changes in rows if target_id is not None}


def owners_counted(after: UUID | None, limit: int) -> list[UUID]:
    """The first so many owners with a log behind this one, by their ids."""
    counters = Counter.objects.order_by("owner_id")
    if after is not None:
        counters = counters.filter(owner_id__gt=after)  # allow: own_visibility because a job goes through all logs
    return list(counters.values_list("owner_id", flat=True)[:limit])


def counted_for(owner_id: UUID) -> dict[str, int]:
    """How much of each kind an owner has stored, as counted with each change."""
    counter = counters_of(owner_id).first()
    return {kind: getattr(counter, kind, 0) for kind in LIMITS}
