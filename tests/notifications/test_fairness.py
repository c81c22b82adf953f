"""Reminders of one member never delay those of others, and what is not sent is on record."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, log_of, person, reader
from duely.accounts.models import User
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.mail import limits
from duely.mail.rules import Allowance
from duely.notifications import actions, jobs
from duely.notifications.models import Notice
from duely.tasks.models import Reminder, Task
from notifications.helpers import remind
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]


def due_reminders_of(user: Any, number: int, at: datetime) -> None:
    """So many reminders of one task, one each millisecond until this instant."""
    task = Api(user).post("tasks/", {"title": f"Task of {user.username}"}).json()["id"]
    times = [at - timedelta(milliseconds=number - index) for index in range(number)]
    Task.objects.filter(pk=task).update(reminders=[f"{time:%Y-%m-%dT%H:%M:%S.%fZ}" for time in times])
    Reminder.objects.bulk_create(
        Reminder(id=new_id(), task_id=task, owner_id=user.id, text=f"{index}", remind_at=time)
        for index, time in enumerate(times)
    )


def rounds_until_queued(user: Any, at: datetime) -> int:
    skipped_owners: set[UUID] = set()
    for number in range(1, 1000):
        assert actions.queue_reminders(deliver=jobs.deliver, now=at, skipped_owners=skipped_owners)
        if Notice.objects.filter(recipient_id=user.id).exists():
            return number
    raise AssertionError("never")


def recipients_in_order() -> list[UUID]:
    waiting = Job.objects.filter(name="notifications.deliver", state="waiting").order_by("run_at", "id")
    notices = Notice.objects.in_bulk()
    return [notices[UUID(args["notice_id"])].recipient_id for args in waiting.values_list("args", flat=True)]


@pytest.mark.parametrize("columns", [{"email_verified": True}, {"email_verified": False}])
def test_a_backlog_of_one_member_does_not_delay_others(columns: dict[str, Any]) -> None:
    at = now()
    busy = person("busy", **columns)
    rounds = []
    for number, name in ((2 * actions.BATCH, "bob"), (10 * actions.BATCH, "iris")):
        due_reminders_of(busy, number, at - timedelta(hours=1))
        other = reader(name)
        due_reminders_of(other, 1, at)
        rounds.append(rounds_until_queued(other, at))
        assert recipients_in_order().index(other.id) <= actions.SHARE + 1
        Notice.objects.all().delete()
        Job.objects.all().delete()
    assert rounds == [2, 2]


def test_each_member_has_a_share_of_unsent_notices() -> None:
    at = now()
    busy = reader("busy")
    due_reminders_of(busy, 3 * actions.SHARE, at)
    for _ in range(3):
        remind(at)
        assert Notice.objects.filter(recipient_id=busy.id, ended_at=None).count() == actions.SHARE
    assert Reminder.objects.filter(passed_at=None).count() == 2 * actions.SHARE


def test_a_share_that_was_sent_is_followed_by_the_next(mailbox: SmtpServer, work: Work) -> None:
    at = now()
    due_reminders_of(reader("busy"), 2 * actions.SHARE + 1, at)
    for many in (actions.SHARE, 2 * actions.SHARE, 2 * actions.SHARE + 1):
        remind(at)
        work(at)
        assert len(mailbox.received) == many


def test_the_scheduler_takes_a_batch_with_the_same_statements() -> None:
    at = now()
    busy, costs = reader("busy"), []
    for number in (2 * actions.BATCH, 8 * actions.BATCH):
        due_reminders_of(busy, number, at)
        Notice.objects.all().delete()
        with CaptureQueriesContext(connection) as statements:
            actions.queue_reminders(deliver=jobs.deliver, now=at, skipped_owners=set())
        costs.append(len(statements))
    assert costs[0] == costs[1]
    assert Reminder.objects.exclude(passed_at=None).count() <= 2 * actions.BATCH


def test_dropped_reminders_of_an_unverified_member_are_recorded(mailbox: SmtpServer, work: Work) -> None:
    at = now()
    user = person("alice")
    due_reminders_of(user, actions.MAX_DROPPED + 1, at)
    remind(at)
    work(at)
    dropped = [changes for action, changes in log_of(user) if action == "user.reminders_dropped"]
    assert [entry["reminders"][1] for entry in dropped] == [actions.MAX_DROPPED, 1]
    assert {entry["reason"][1] for entry in dropped} == {"unverified"}
    assert not mailbox.received
    assert not Reminder.objects.filter(passed_at=None).exists()


def test_dropped_reminders_over_the_limit_are_recorded(
    mailbox: SmtpServer, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DAILY_LIMITS", {**limits.DAILY_LIMITS, Allowance.NOTICES: 3})
    at = now()
    user = reader("alice")
    due_reminders_of(user, 2 * actions.SHARE, at)
    for _ in range(2):
        remind(at)
        work(at)
    assert len(mailbox.received) == 3
    assert sorted(Notice.objects.values_list("outcome", flat=True)) == ["limited"] * (actions.SHARE - 3) + ["sent"] * 3
    assert [entry for entry in log_of(user) if entry[0].startswith("user.")] == [
        ("user.mail_limit_reached", {"limit": [None, 3], "allowance": [None, "notices"]}),
        ("user.reminders_dropped", {"reminders": [None, actions.SHARE], "reason": [None, "limited"]}),
    ]
    assert Api(user).get("profile/").json()["mail_status"] == "limited"
    tomorrow = limits.next_day(at)
    due_reminders_of(user, 1, tomorrow)
    remind(tomorrow)
    work(tomorrow)
    assert len(mailbox.received) == 4


@pytest.mark.parametrize("columns", [{"is_active": False}, {"reminder_emails": False}])
def test_unwanted_reminders_leave_no_entry(columns: dict[str, Any]) -> None:
    user = reader("alice")
    due_reminders_of(user, 3, now())
    User.objects.filter(pk=user.pk).update(**columns)
    remind(now())
    assert not Reminder.objects.filter(passed_at=None).exists()
    assert "user.reminders_dropped" not in dict(log_of(user))


def test_reminders_of_a_reachable_member_are_not_dropped() -> None:
    user = reader("alice")
    due_reminders_of(user, 2, now())
    assert actions.drop_reminders(owner_ids=[user.id], now=now()) == 0
    assert Reminder.objects.filter(passed_at=None).count() == 2


def test_reminders_of_several_members_are_dropped_together() -> None:
    at = now()
    users = [person(f"p{number}") for number in range(3)]
    for user in users:
        due_reminders_of(user, 2, at)
    reachable = reader("alice")
    due_reminders_of(reachable, 2, at)
    assert actions.drop_reminders(owner_ids=[reachable.id, *(user.id for user in users)], now=at) == 6
    for user in users:
        assert dict(log_of(user))["user.reminders_dropped"]["reminders"] == [None, 2]
    assert Reminder.objects.filter(passed_at=None).count() == 2


def test_many_unreachable_members_are_skipped_in_batches(
    monkeypatch: pytest.MonkeyPatch, mailbox: SmtpServer, work: Work
) -> None:
    from duely.jobs.queue import enqueue

    monkeypatch.setattr(actions, "MAX_SKIPPED_OWNERS", 3)
    monkeypatch.setattr(actions, "BATCH", 2)
    monkeypatch.setattr(jobs, "OWNERS_PER_BATCH", 2)
    at = now()
    for number in range(10):
        due_reminders_of(person(f"p{number}"), 3, at - timedelta(hours=1))
    other = reader("bob")
    due_reminders_of(other, 1, at)
    largest = 0
    queue = actions.queue_reminders

    def watched(**arguments: Any) -> int:
        nonlocal largest
        handled = queue(**arguments)
        largest = max(largest, len(arguments["skipped_owners"]))
        return handled

    monkeypatch.setattr(actions, "queue_reminders", watched)
    enqueue(jobs.remind)
    work(at)
    assert largest <= 4
    assert not Reminder.objects.filter(passed_at=None).exists()
    assert [mail.recipients for mail in mailbox.received] == [[other.email]]


def test_a_run_of_the_job_ends_in_time(monkeypatch: pytest.MonkeyPatch, mailbox: SmtpServer, work: Work) -> None:
    from duely.jobs.queue import enqueue

    monkeypatch.setattr(jobs, "RUN_SECONDS", -1.0)
    at = now()
    for number in range(3):
        due_reminders_of(reader(f"p{number}"), actions.BATCH, at + timedelta(minutes=number))
    enqueue(jobs.remind)
    work(at + timedelta(hours=1))
    assert Job.objects.get(name="notifications.remind").state == "done"
    assert set(Notice.objects.values_list("recipient_id", flat=True)) == {User.objects.get(username="p0").id}
