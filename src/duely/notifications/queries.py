"""Reads for notices: what is due, and what goes into a mail."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, F, QuerySet

from duely.accounts.models import User
from duely.accounts.rules import MailStatus, mail_status
from duely.notifications.models import Digest, Notice
from duely.notifications.rules import Unreachable, day_bounds, day_of
from duely.tasks.models import LIVE, Reminder, Task
from duely.tasks.rules import CLOSED, OPEN, Status

MOST_LISTED = 20
"""How many tasks a digest names under one heading; it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Section:
    """The tasks under one heading of a digest: the first few, and how many there are in all."""

    tasks: list[Task]
    total: int

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.total - len(self.tasks)


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a digest tells."""

    due_today: Section
    overdue: Section
    done_yesterday: Section

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.due_today.total or self.overdue.total or self.done_yesterday.total)


def due_digests(now: datetime, limit: int) -> list[Digest]:
    """Digests whose hour has come, locked until the caller's transaction ends."""
    rows = Digest.objects.filter(next_at__lte=now).order_by("next_at", "user_id")
    return list(rows.select_for_update(skip_locked=True)[:limit])


class DigestChoice(NamedTuple):
    """When someone wants their digest."""

    hour: int
    zone: str
    is_active: bool


def digest_choices(user_ids: list[UUID]) -> dict[UUID, DigestChoice]:
    """Of those among these users who have chosen an hour: that, their time zone, and whether they are active."""
    rows = User.objects.filter(pk__in=user_ids).values_list("pk", "digest_hour", "time_zone", "is_active")
    return {pk: DigestChoice(hour, zone, is_active) for pk, hour, zone, is_active in rows if hour is not None}


def recipient(user_id: UUID) -> User | None:
    """An active user."""
    return User.objects.filter(pk=user_id, is_active=True).first()


def recipients(user_ids: Collection[UUID]) -> list[User]:
    """The active ones of these users."""
    return list(User.objects.filter(pk__in=user_ids, is_active=True).order_by("pk"))


def unreachable(user_ids: Collection[UUID], now: datetime) -> dict[UUID, Unreachable]:
    """Those of these users who are sent no reminders now, and why."""
    users = User.objects.in_bulk(list(user_ids))
    reasons = {user_id: _why_unreachable(users.get(user_id), now) for user_id in user_ids}
    return {user_id: reason for user_id, reason in reasons.items() if reason is not None}


def _why_unreachable(user: User | None, now: datetime) -> Unreachable | None:
    if user is None or not user.is_active:
        return Unreachable.INACTIVE
    if not user.reminder_emails:
        return Unreachable.UNWANTED
    status = mail_status(is_verified=user.email_verified, paused_until=user.mail_paused_until, now=now)
    return None if status is MailStatus.ON else Unreachable(status.value)


def open_notices(user_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many notices wait to be sent to each of these users; those without any are left out."""
    rows = Notice.objects.filter(recipient_id__in=user_ids, ended_at__isnull=True).order_by("recipient_id")
    return dict(rows.values_list("recipient_id").annotate(many=Count("pk")))


def task_to_remind_of(notice: Notice) -> Task | None:
    """The task of a reminder, if it still is as it was when the reminder became due: open, and due to be told then."""
    still = Reminder.objects.filter(task_id=notice.subject_id, remind_at=notice.due_at)
    recipient = notice.recipient_id
    tasks = Task.objects.filter(LIVE, owner_id=recipient)  # allow: own_visibility because the system writes to them
    task = tasks.filter(pk=notice.subject_id).first()
    return task if task is not None and task.status not in CLOSED and still.exists() else None


def agenda(user_id: UUID, zone: str, instant: datetime) -> Agenda:
    """What someone's day looks like, the day being that of `instant` in their zone."""
    today, yesterday = (day_of(instant, zone) - timedelta(days=days) for days in (0, 1))
    start, end = day_bounds(today, zone)
    mine = Task.objects.filter(LIVE, owner_id=user_id)  # allow: own_visibility because the system writes to them
    still_open = mine.filter(status__in=[status.value for status in OPEN])
    done = mine.filter(status=Status.COMPLETED.value, completed_at__gte=day_bounds(yesterday, zone)[0])
    return Agenda(
        due_today=_section(still_open.filter(due_at__gte=start, due_at__lt=end).order_by("due_at", "id")),
        overdue=_section(mine.filter(status=Status.OVERDUE.value).order_by("due_at", "id")),
        done_yesterday=_section(done.filter(completed_at__lt=start).order_by(F("completed_at").desc(), "id")),
    )


def _section(tasks: QuerySet[Task]) -> Section:
    first = list(tasks[: MOST_LISTED + 1])
    if len(first) <= MOST_LISTED:
        return Section(first, len(first))
    return Section(first[:MOST_LISTED], tasks.count())
