"""Reads of the change log."""

from django.db.models import QuerySet

from duely.activity.models import Change
from duely.core.actor import Actor


def visible_changes(actor: Actor) -> QuerySet[Change]:
    """The log of what is the actor's; for those who see everything, the whole of it."""
    changes = Change.objects.all()
    return changes if actor.sees_all else changes.filter(owner_id=actor.user_id)
