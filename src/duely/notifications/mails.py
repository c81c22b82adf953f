"""Composes the mails of notices."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from duely.accounts.models import User
from duely.mail.messages import Mail, compose
from duely.notifications import links
from duely.notifications.models import Notice
from duely.notifications.queries import agenda, recipient, task_to_remind_of
from duely.notifications.rules import Kind, Outcome, day_of


def mail_of(notice: Notice, now: datetime) -> Mail | Outcome:
    """The mail of a notice with the current data, or the outcome that ends the notice without a mail."""
    user = recipient(notice.recipient_id)
    if user is None:
        return Outcome.UNWANTED
    return _reminder(notice, user) if notice.kind == Kind.REMINDER else _digest(notice, user, now)


def _reminder(notice: Notice, user: User) -> Mail | Outcome:
    if not user.reminder_emails:
        return Outcome.UNWANTED
    task = task_to_remind_of(notice)
    if task is None:
        return Outcome.OUTDATED
    return composed(Kind.REMINDER, user, {"task": task}, notice.id)


def _digest(notice: Notice, user: User, now: datetime) -> Mail | Outcome:
    if user.digest_hour is None:
        return Outcome.UNWANTED
    if day_of(notice.due_at, user.time_zone) != day_of(now, user.time_zone):
        return Outcome.OUTDATED
    tasks_of_day = agenda(user.id, user.time_zone, notice.due_at)
    if tasks_of_day.is_empty:
        return Outcome.EMPTY
    context = {"agenda": tasks_of_day, "day": day_of(notice.due_at, user.time_zone)}
    return composed(Kind.DIGEST, user, context, notice.id)


def composed(kind: Kind, user: User, context: Mapping[str, Any], notice_id: UUID) -> Mail:
    """A mail of this kind in the recipient's language and time zone."""
    return compose(
        kind.value,
        to=user.email,
        context={**context, "name": user.display_name or user.username},
        locale=user.locale,
        zone=user.time_zone,
        message_id=f"{kind.value}.{notice_id}",
        unsubscribe_url=settings.PUBLIC_URL + links.path(kind, user.id),
    )
