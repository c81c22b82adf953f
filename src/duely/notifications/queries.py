"""Reads for notices: due digests, recipients, and the contents of mails."""

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

MAX_LISTED_TASKS = 20
"""Tasks that a digest lists under one heading. It gives the number of the others."""


@dataclass(frozen=True, slots=True)
class Section:
    """The tasks under one heading of a digest: the first MAX_LISTED_TASKS, and the number of all."""

    tasks: list[Task]
    total: int

    @property
    def more(self) -> int:
        """The number of tasks that are not listed."""
        return self.total - len(self.tasks)


@dataclass(frozen=True, slots=True)
class Agenda:
    """The contents of a digest."""

    due_today: Section
    overdue: Section
    done_yesterday: Section

    @property
    def is_empty(self) -> bool:
        """Whether there are no tasks in any section."""
        return not (self.due_today.total or self.overdue.total or self.done_yesterday.total)


def due_digests(now: datetime, limit: int) -> list[Digest]:
    """Due digests, locked until the caller's transaction ends."""
    rows = Digest.objects.filter(next_at__lte=now).order_by("next_at", "user_id")
    return list(rows.select_for_update(skip_locked=True)[:limit])


class DigestChoice(NamedTuple):
    """A user's choice of the hour of their digest."""

    hour: int
    zone: str
    is_active: bool


def digest_choices(user_ids: list[UUID]) -> dict[UUID, DigestChoice]:
    """The choices of those users who have chosen an hour."""
    rows = User.objects.filter(pk__in=user_ids).values_list("pk", "digest_hour", "time_zone", "is_active")
    return {pk: DigestChoice(hour, zone, is_active) for pk, hour, zone, is_active in rows if hour is not None}


def recipient(user_id: UUID) -> User | None:
    """The user, if active."""
    return User.objects.filter(pk=user_id, is_active=True).first()


def recipients(user_ids: Collection[UUID]) -> list[User]:
    """The active users among the given ones."""
    return list(User.objects.filter(pk__in=user_ids, is_active=True).order_by("pk"))


def unreachable(user_ids: Collection[UUID], now: datetime) -> dict[UUID, Unreachable]:
    """The users who get no reminders at present, with the reason."""
    users = User.objects.in_bulk(list(user_ids))
    reasons = {user_id: _reason_against_mail(users.get(user_id), now) for user_id in user_ids}
    return {user_id: reason for user_id, reason in reasons.items() if reason is not None}


def _reason_against_mail(user: User | None, now: datetime) -> Unreachable | None:
    if user is None or not user.is_active:
        return Unreachable.INACTIVE
    if not user.reminder_emails:
        return Unreachable.UNWANTED
    status = mail_status(is_verified=user.email_verified, paused_until=user.mail_paused_until, now=now)
    return None if status is MailStatus.ON else Unreachable(status.value)


def open_notices(user_ids: Collection[UUID]) -> dict[UUID, int]:
    """The number of unsent notices of each user. Users without any are left out."""
    rows = Notice.objects.filter(recipient_id__in=user_ids, ended_at__isnull=True).order_by("recipient_id")
    return dict(rows.values_list("recipient_id").annotate(number=Count("pk")))


def task_to_remind_of(notice: Notice) -> Task | None:
    """The task of a reminder, or None if it is closed or deleted, or has no reminder at that time any more."""
    recipient_id = notice.recipient_id
    tasks = Task.objects.filter(LIVE, owner_id=recipient_id)  # allow: own_visibility because the system writes to them
    task = tasks.filter(pk=notice.subject_id).first()
    if task is None or task.status in CLOSED:
        return None
    reminders = Reminder.objects.filter(task_id=notice.subject_id, remind_at=notice.due_at)
    return task if reminders.exists() else None


def agenda(user_id: UUID, zone: str, instant: datetime) -> Agenda:
    """The agenda of a user for the day of `instant` in their time zone."""
    today = day_of(instant, zone)
    start_of_yesterday, _ = day_bounds(today - timedelta(days=1), zone)
    start_of_today, end_of_today = day_bounds(today, zone)
    tasks = Task.objects.filter(LIVE, owner_id=user_id)  # allow: own_visibility because the system writes to them
    due_today = tasks.filter(
        status__in=[status.value for status in OPEN], due_at__gte=start_of_today, due_at__lt=end_of_today
    )
    overdue = tasks.filter(status=Status.OVERDUE.value)
    done_yesterday = tasks.filter(
        status=Status.COMPLETED.value, completed_at__gte=start_of_yesterday, completed_at__lt=start_of_today
    )
    return Agenda(
        due_today=_section(due_today.order_by("due_at", "id")),
        overdue=_section(overdue.order_by("due_at", "id")),
        done_yesterday=_section(done_yesterday.order_by(F("completed_at").desc(), "id")),
    )


def _section(tasks: QuerySet[Task]) -> Section:
    # One task more than is listed, so that only a long section needs a count.
    first_tasks = list(tasks[: MAX_LISTED_TASKS + 1])
    if len(first_tasks) <= MAX_LISTED_TASKS:
        return Section(first_tasks, len(first_tasks))
    return Section(first_tasks[:MAX_LISTED_TASKS], tasks.count())
