"""The daily digest: at the reader's hour, about the reader's day."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cast import Api, adam, reader
from duely.core.clock import now
from duely.notifications import actions, jobs
from duely.notifications.models import Digest, Notice
from duely.notifications.queries import MAX_LISTED_TASKS
from duely.tasks.models import Task
from notifications.helpers import subjects
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]


def tick(at: datetime, work: Work) -> None:
    """What the clock does at that instant, and a worker after it."""
    while actions.queue_digests(deliver=jobs.deliver, now=at):
        pass
    work(at)


def outcomes() -> list[str]:
    return list(Notice.objects.order_by("due_at").values_list("outcome", flat=True))


def next_at(user: Any) -> datetime | None:
    return Digest.objects.filter(pk=user.id).values_list("next_at", flat=True).first()


def wants(user: Any, hour: int = 7, **profile: Any) -> Api:
    me = Api(user)
    assert me.patch("profile/", {"digest_hour": hour, **profile}).status_code == 200
    return me


def test_a_digest_lists_due_overdue_and_completed_tasks(mailbox: SmtpServer, work: Work) -> None:
    user = reader("alice")
    me = wants(user, time_zone="Europe/Berlin")
    due = next_at(user)
    assert due is not None
    day = due.astimezone(UTC).date()
    for title, fields in {
        "Pay the rent": {"due_date": day.isoformat()},
        "Call Grace": {"due_date": f"{day}T12:00:00Z"},
        "Not today": {"due_date": (day + timedelta(days=1)).isoformat()},
        "Whenever": {},
        "Late": {"due_date": (day - timedelta(days=2)).isoformat()},
        "Done": {"status": "completed"},
        "Done long ago": {"status": "completed"},
        "Given up": {"status": "cancelled", "due_date": day.isoformat()},
        "In the trash": {"due_date": day.isoformat()},
    }.items():
        assert me.post("tasks/", {"title": title, **fields}).status_code == 201
    Task.objects.filter(title="Late").update(status="overdue", former_status="pending")
    Task.objects.filter(title="Done").update(completed_at=due - timedelta(hours=12))
    Task.objects.filter(title="Done long ago").update(completed_at=due - timedelta(hours=40))
    Task.objects.filter(title="In the trash").update(deleted_at=now())
    tick(due, work)
    (mail,) = mailbox.received
    lines = [line.strip() for line in mail.part("plain").splitlines()]
    found = [line.split(" (")[0] for line in lines if line.startswith("- ")]
    assert found == ["- Late", "- Call Grace", "- Pay the rent", "- Done"]
    assert "- Call Grace (2 p.m.)" in lines or "- Call Grace (1 p.m.)" in lines
    for heading in ("Overdue (1)", "Due today (2)", "Done yesterday (1)"):
        assert heading in lines
        assert heading in mail.part("html")


def test_a_long_list_is_cut_and_says_so(mailbox: SmtpServer, work: Work) -> None:
    user = reader("alice")
    me = wants(user)
    due = next_at(user)
    assert due is not None
    for number in range(MAX_LISTED_TASKS + 3):
        me.post("tasks/", {"title": f"Task {number}", "due_date": due.date().isoformat()})
    tick(due, work)
    text = mailbox.received[0].part("plain")
    assert f"Due today ({MAX_LISTED_TASKS + 3})" in text
    assert "and 3 more" in text
    assert text.count("- Task") == MAX_LISTED_TASKS


def test_an_empty_digest_is_not_sent(mailbox: SmtpServer, work: Work) -> None:
    user = reader("alice")
    wants(user)
    due = next_at(user)
    assert due is not None
    tick(due, work)
    assert (mailbox.received, outcomes()) == ([], ["empty"])
    assert next_at(user) == due + timedelta(days=1)


def someone_with_a_task(**profile: Any) -> tuple[Any, datetime]:
    user = reader("alice")
    wants(user, **profile).post("tasks/", {"title": "Late"})
    Task.objects.update(status="overdue", former_status="pending", due_at=now())
    due = next_at(user)
    assert due is not None
    return user, due


def test_a_digest_is_sent_once_a_day(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task()
    tick(due - timedelta(milliseconds=1), work)
    assert mailbox.received == []
    for minutes in (0, 0, 1, 60, 23 * 60):
        tick(due + timedelta(minutes=minutes), work)
    assert len(mailbox.received) == 1
    tick(due + timedelta(days=1), work)
    assert len(mailbox.received) == 2
    assert next_at(user) == due + timedelta(days=2)


def test_after_a_long_stop_only_todays_digest_is_sent(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task()
    tick(due + timedelta(days=3, hours=2), work)
    assert mailbox.received == []
    assert next_at(user) == due + timedelta(days=4)
    tick(due + timedelta(days=4, hours=5), work)
    assert len(mailbox.received) == 1


def test_a_digest_not_sent_before_midnight_is_dropped(mailbox: SmtpServer, work: Work) -> None:
    _, due = someone_with_a_task()
    actions.queue_digests(deliver=jobs.deliver, now=due)
    work(due + timedelta(days=1))
    assert (mailbox.received, outcomes()) == ([], ["outdated"])


def test_another_hour_or_zone_moves_the_digest(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task(time_zone="UTC")
    assert due.hour == 7
    me = Api(user)
    me.patch("profile/", {"time_zone": "Asia/Tokyo"})
    assert next_at(user).hour == 22  # type: ignore[union-attr]
    me.patch("profile/", {"digest_hour": 0})
    assert next_at(user).hour == 15  # type: ignore[union-attr]
    me.patch("profile/", {"bio": "Hello"})
    assert next_at(user).hour == 15  # type: ignore[union-attr]


def test_without_an_hour_there_is_no_digest(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task()
    actions.queue_digests(deliver=jobs.deliver, now=due)
    Api(user).patch("profile/", {"digest_hour": None})
    assert next_at(user) is None
    tick(due + timedelta(minutes=1), work)
    assert (mailbox.received, outcomes()) == ([], ["unwanted"])


def test_a_deactivated_user_gets_no_digest(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task()
    Api(adam()).patch(f"users/{user.id}/", {"is_active": False})
    tick(due, work)
    assert (subjects(mailbox), outcomes()) == (["Your account was deactivated"], [])


def test_a_reactivated_user_gets_digests_again(mailbox: SmtpServer, work: Work) -> None:
    user, due = someone_with_a_task()
    admin = Api(adam())
    admin.patch(f"users/{user.id}/", {"is_active": False})
    tick(due, work)
    admin.patch(f"users/{user.id}/", {"is_active": True})
    tick(due + timedelta(days=1), work)
    assert len([subject for subject in subjects(mailbox) if "deactivated" not in subject]) == 1
    assert outcomes() == ["sent"]


def test_a_digest_row_without_an_hour_is_deleted(work: Work) -> None:
    user = reader("alice")
    Digest.objects.create(user_id=user.id, next_at=now())
    tick(now(), work)
    assert (next_at(user), outcomes()) == (None, [])


def test_the_migration_plans_digests_of_earlier_choices() -> None:
    from importlib import import_module

    from django.apps import apps

    early, never = reader("early", digest_hour=7, time_zone="Asia/Tokyo"), reader("never")
    plan = import_module("duely.notifications.migrations.0002_plan_digests").plan
    for _ in range(2):
        plan(apps, None)
    due = next_at(early)
    assert due is not None
    assert (due.hour, next_at(never)) == (22, None)
    assert due > now()
