"""Reminders by e-mail: once, at the right time, and only while they are true."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, reader
from duely.core.clock import now, rfc3339
from duely.jobs.models import Job
from duely.notifications import actions, jobs
from duely.notifications.models import Notice
from duely.tasks.models import Reminder
from notifications.helpers import remind, subjects
from smtp_server import Drop, SmtpServer, Step

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]

SOON = timedelta(minutes=30)


def task_with(api: Api, *reminders: str, due: datetime | str | None = None, **fields: Any) -> str:
    body = {"title": "Pay the rent", "reminders": list(reminders), **fields}
    if due is not None:
        body["due_date"] = due if isinstance(due, str) else rfc3339(due)
    answer = api.post("tasks/", body)
    assert answer.status_code == 201, answer.content
    task_id: str = answer.json()["id"]
    return task_id


def outcomes() -> list[str]:
    return sorted(Notice.objects.values_list("outcome", flat=True))


def test_a_reminder_is_not_sent_before_its_time(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    early = due - SOON - timedelta(milliseconds=1)
    remind(early)
    work(early)
    assert mailbox.received == []
    remind(due - SOON)
    work(due - SOON)
    (mail,) = mailbox.received
    assert mail.recipients == ["alice@example.org"]
    assert mail.message["Subject"] == "Reminder: Pay the rent"
    assert "Pay the rent" in mail.part("plain")
    assert "Pay the rent" in mail.part("html")
    assert outcomes() == ["sent"]


def test_missed_reminders_are_sent_after_a_stop(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    for number in range(3):
        task_with(Api(reader(f"p{number}")), "-PT30M", due=due)
    later = due + timedelta(days=3)
    remind(later)
    work(later)
    assert len(mailbox.received) == 3


def test_frequent_runs_send_a_reminder_once(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    for minute in range(5):
        remind(due + timedelta(minutes=minute))
        work(due + timedelta(minutes=minute))
    assert len(mailbox.received) == 1


def test_two_reminders_of_one_instant_are_one_mail(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=2)
    task_with(Api(reader("alice")), "-PT30M", rfc3339(due - SOON), due=due)
    remind(due)
    work(due)
    assert len(mailbox.received) == 1


def test_each_reminder_of_a_task_is_a_mail_of_its_own(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=2)
    task_with(Api(reader("alice")), "-PT30M", "-PT1H", due=due)
    remind(due)
    work(due)
    assert len(mailbox.received) == 2
    assert len({mail.message["Message-ID"] for mail in mailbox.received}) == 2


def test_a_due_date_that_moves_takes_a_queued_reminder_with_it(mailbox: SmtpServer, work: Work) -> None:
    me = Api(reader("alice"))
    due = now() + timedelta(hours=1)
    task_id = task_with(me, "-PT30M", due=due)
    remind(due - SOON)
    later = due + timedelta(days=1)
    assert me.patch(f"tasks/{task_id}/", {"due_date": rfc3339(later)}).status_code == 200
    work(due - SOON)
    assert (mailbox.received, outcomes()) == ([], ["outdated"])
    remind(later - SOON)
    work(later - SOON)
    assert (len(mailbox.received), outcomes()) == (1, ["outdated", "sent"])


def test_a_due_date_that_moves_there_and_back_reminds_once(mailbox: SmtpServer, work: Work) -> None:
    me = Api(reader("alice"))
    due = now() + timedelta(hours=1)
    task_id = task_with(me, "-PT30M", due=due)
    remind(due - SOON)
    work(due - SOON)
    for moved in (due + timedelta(days=1), due):
        me.patch(f"tasks/{task_id}/", {"due_date": rfc3339(moved)})
    remind(due)
    work(due)
    assert len(mailbox.received) == 1


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("DELETE", "tasks/{}/", None),
        ("PATCH", "tasks/{}/", {"status": "completed"}),
        ("PATCH", "tasks/{}/", {"status": "cancelled"}),
        ("PATCH", "tasks/{}/", {"reminders": []}),
        ("PATCH", "tasks/{}/", {"due_date": None}),
    ],
)
@pytest.mark.parametrize("queued", [True, False])
def test_a_reminder_that_is_no_longer_true_is_not_sent(
    method: str, path: str, body: Any, queued: bool, mailbox: SmtpServer, work: Work
) -> None:
    me = Api(reader("alice"))
    due = now() + timedelta(hours=1)
    task_id = task_with(me, "-PT30M", due=due)
    if queued:
        remind(due)
    assert me.call(method, path.format(task_id), body).status_code in {200, 204}
    remind(due)
    work(due)
    assert mailbox.received == []
    assert outcomes() == (["outdated"] if queued else [])


@pytest.mark.parametrize("queued", [True, False])
def test_a_member_without_mail_gets_no_reminder(queued: bool, mailbox: SmtpServer, work: Work) -> None:
    me = Api(reader("alice"))
    due = now() + timedelta(hours=1)
    task_with(me, "-PT30M", due=due)
    if queued:
        remind(due)
    me.patch("profile/", {"reminder_emails": False})
    remind(due)
    work(due)
    assert (mailbox.received, outcomes()) == ([], ["unwanted"] if queued else [])
    assert not Reminder.objects.filter(passed_at=None).exists()


def test_a_deactivated_user_gets_no_mail(mailbox: SmtpServer, work: Work) -> None:
    user = reader("alice")
    due = now() + timedelta(hours=1)
    task_with(Api(user), "-PT30M", due=due)
    remind(due)
    assert Api(adam()).patch(f"users/{user.id}/", {"is_active": False}).status_code == 200
    work(due)
    assert (subjects(mailbox), outcomes()) == (["Your account was deactivated"], ["unwanted"])


def test_the_mail_goes_to_the_owner_of_the_task(mailbox: SmtpServer, work: Work) -> None:
    owner = reader("bob")
    due = now() + timedelta(hours=1)
    task_with(Api(adam()), "-PT30M", due=due, owner=str(owner.id))
    remind(due)
    work(due)
    assert mailbox.received[0].recipients == ["bob@example.org"]


def test_times_are_in_the_readers_zone_and_language(mailbox: SmtpServer, work: Work) -> None:
    me = Api(reader("alice", time_zone="Europe/Berlin", locale="de"))
    task_with(me, "-PT30M", due="2030-07-01T16:30:00Z")
    at = datetime(2030, 7, 1, 16, 0, tzinfo=UTC)
    remind(at)
    work(at)
    assert "1. Juli 2030 18:30" in mailbox.received[0].part("plain")


def test_a_reminder_of_a_whole_day_names_the_day(mailbox: SmtpServer, work: Work) -> None:
    me = Api(reader("alice", time_zone="Pacific/Auckland"))
    task_with(me, "-P1D", due="2030-07-02")
    at = datetime(2030, 7, 2, tzinfo=UTC)
    remind(at)
    work(at)
    assert "July 2, 2030" in mailbox.received[0].part("plain")


def test_an_outage_of_the_server_only_delays(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    remind(due)
    mailbox.stop()
    work(due)
    job = Job.objects.get(name="notifications.deliver")
    assert (job.state, job.attempts) == ("waiting", 1)
    assert outcomes() == [""]
    mailbox.start()
    Job.objects.update(run_at=now())
    work(due)
    assert len(mailbox.received) == 1
    notice = Notice.objects.get()
    assert (notice.outcome, notice.attempts) == ("sent", 2)


def test_only_temporary_failures_are_retried(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    remind(due)
    mailbox.faults = {Step.RCPT: "450 4.2.1 Try later"}
    work(due)
    assert Job.objects.get(name="notifications.deliver").state == "waiting"
    mailbox.faults = {Step.RCPT: "550 5.1.1 No such user"}
    Job.objects.update(run_at=now())
    work(due)
    assert Job.objects.get(name="notifications.deliver").state == "done"
    assert (mailbox.received, outcomes()) == ([], ["refused"])


def test_only_an_unconfirmed_mail_can_arrive_twice(mailbox: SmtpServer, work: Work) -> None:
    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    remind(due)
    mailbox.faults = {Step.MESSAGE: Drop()}
    work(due)
    mailbox.faults = {}
    Job.objects.update(run_at=now())
    work(due)
    assert len(mailbox.received) == 2
    assert len({mail.message["Message-ID"] for mail in mailbox.received}) == 1
    assert outcomes() == ["sent"]


def test_a_duplicate_job_sends_once(mailbox: SmtpServer, work: Work) -> None:
    from duely.jobs.queue import enqueue

    due = now() + timedelta(hours=1)
    task_with(Api(reader("alice")), "-PT30M", due=due)
    remind(due)
    enqueue(jobs.deliver, notice_id=str(Notice.objects.get().id))
    work(due)
    assert len(mailbox.received) == 1


def test_the_number_of_statements_does_not_grow_with_the_reminders() -> None:
    due = now() + timedelta(hours=1)
    counts = []
    for people in (2, 30):
        for number in range(people):
            task_with(Api(reader(f"p{people}-{number}")), "-PT30M", due=due)
        with CaptureQueriesContext(connection) as statements:
            remind(due)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_old_notices_are_purged() -> None:
    from duely.core.ids import new_id

    at = now()
    for days, ended in ((91, True), (89, True), (91, False), (89, False)):
        moment = at - timedelta(days=days)
        Notice.objects.create(
            id=new_id(),
            kind="reminder",
            subject_id=new_id(),
            due_at=moment,
            recipient_id=new_id(),
            created_at=moment,
            attempts=1,
            ended_at=moment if ended else None,
            outcome="sent" if ended else "",
        )
    assert actions.purge_notices(now=at) == 2
    assert actions.purge_notices(now=at) == 0
    assert Notice.objects.count() == 2
