"""Steps that several actions take. None of them records anything: that is the action's business."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from duely.accounts import queries
from duely.accounts.models import EndReason, User
from duely.core.actor import Actor


def lock(user_id: UUID) -> User:
    """The user as they are now; nobody else changes them until the transaction ends."""
    return User.objects.select_for_update(no_key=True).get(pk=user_id)


def has_changed(checked: User, locked: User) -> bool:
    """Whether the password that was checked before the row was locked counts no more."""
    return locked.password != checked.password or not locked.is_active


def acting_as(actor: Actor, user: User, session_id: UUID | None = None) -> Actor:
    """The actor, now known to be this user."""
    return replace(actor, id=user.id, name=user.username, role=user.role, session_id=session_id, zone=user.time_zone)


def end_sessions(user: User, reason: EndReason, now: datetime, keep: UUID | None = None) -> int:
    """End all live sessions but one; returns how many."""
    return queries.live_sessions(user.id, now).exclude(Q(pk=keep)).update(ended_at=now, end_reason=reason)
