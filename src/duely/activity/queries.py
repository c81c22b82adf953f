"""Reads of the change log."""

from uuid import UUID

from django.db.models import QuerySet

from duely.activity.models import Change
from duely.core.actor import Actor
from duely.core.prepared import Seen


def all_changes() -> QuerySet[Change]:
    """The whole log."""
    return Change.objects.all()


def seen_changes(actor: Actor) -> Seen:
    """The log of what is the actor's; for those who see everything, the whole of it."""
    return Seen(all_changes, () if actor.sees_all else (("owner_id", actor.user_id),))


def fields_of_last(owner_id: UUID, target_id: UUID, many: int) -> set[str]:
    """The fields that the last so many changes of a thing changed."""
    entries = Change.objects.filter(owner_id=owner_id, target_id=target_id).order_by("-seq")
    return {name for changes in entries.values_list("changes", flat=True)[:many] for name in changes}
