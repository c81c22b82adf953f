"""Which mails may go where, and how many of them in a day."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

import duely
from cast import log_of, person, reader
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.jobs.queue import Postponed, Running, claim, enqueue
from duely.jobs.registry import named
from duely.mail import limits, recipients
from duely.mail.delivery import Delivery, deliver
from duely.mail.messages import Mail
from duely.mail.models import MailCount
from duely.mail.rules import DAILY_LIMITS, KINDS, Allowance, kind_of
from smtp_server import Drop, SmtpServer, Step

TO_UNPROVEN = {"account_code", "account_link", "account_known", "account_change"}
PROVEN_ONLY = {"reminder", "digest"}


def running() -> Running:
    enqueue(named("mail.purge"), number=str(new_id()))
    (taken,) = claim("me", 1)
    return taken


def mail_of(kind: str, to: str = "alice@example.org") -> Mail:
    return Mail(kind, to, "Subject", "Text\n", "<p>Text</p>", f"{kind}.{new_id()}")


def send(kind: str, to: str = "alice@example.org", at: datetime | None = None) -> Delivery:
    job = running()
    job.now = at or job.now
    return deliver(job, mail_of(kind, to))


@pytest.fixture
def two_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DAILY_LIMITS", dict.fromkeys(Allowance, 2))
    monkeypatch.setattr(limits, "MAX_NOTICES_OF_EVENT", 2)


def test_every_kind_of_mail_is_registered() -> None:
    templates = Path(duely.__file__).parent.glob("*/templates/mail/*.subject.txt")
    assert {path.name.removesuffix(".subject.txt") for path in templates} == KINDS.keys() == TO_UNPROVEN | PROVEN_ONLY


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [*KINDS, "a_kind_of_tomorrow"])
def test_only_registered_kinds_go_to_unproven_addresses(kind: str, mailbox: SmtpServer) -> None:
    person("alice")
    for to in ("alice@example.org", "nobody@example.org"):
        assert send(kind, to) is (Delivery.SENT if kind in TO_UNPROVEN else Delivery.UNPROVEN)
    assert len(mailbox.received) == (2 if kind in TO_UNPROVEN else 0)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [*KINDS, "a_kind_of_tomorrow"])
def test_every_kind_goes_to_a_proven_address(kind: str, mailbox: SmtpServer) -> None:
    reader("alice")
    assert send(kind, "Alice@Example.org") is Delivery.SENT
    assert len(mailbox.received) == 1


@pytest.mark.django_db
def test_a_deactivated_user_gets_no_reminders(mailbox: SmtpServer) -> None:
    reader("alice", is_active=False)
    assert send("reminder") is Delivery.UNPROVEN


@pytest.mark.django_db
def test_no_address_counts_as_proven_without_a_directory(mailbox: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    reader("alice")
    monkeypatch.setattr(recipients, "_directories", [])
    assert send("reminder") is Delivery.UNPROVEN
    assert send("account_code") is Delivery.SENT


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_a_mailbox_has_a_daily_limit_over_its_spellings(mailbox: SmtpServer) -> None:
    reader("alice")
    reader("other", email="Alice+tasks@EXAMPLE.org")
    sent = [send(kind, to) for kind in ("reminder", "digest") for to in ("alice@example.org", "ALICE+x@example.org")]
    assert sent == [Delivery.SENT, Delivery.UNPROVEN, Delivery.SENT, Delivery.UNPROVEN]
    assert send("reminder", "Alice+tasks@EXAMPLE.org") is Delivery.LIMITED
    assert len(mailbox.received) == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
@pytest.mark.parametrize("kind", sorted(TO_UNPROVEN))
def test_reminders_do_not_use_up_other_limits(kind: str, mailbox: SmtpServer) -> None:
    reader("alice")
    assert [send("reminder") for _ in range(3)][-1] is Delivery.LIMITED
    assert send(kind) is Delivery.SENT


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
@pytest.mark.parametrize("kind", ["account_change", "digest", "reminder"])
def test_mail_over_the_limit_is_recorded_once(kind: str, mailbox: SmtpServer) -> None:
    user = reader("alice")
    for _ in range(5):
        send(kind)
    allowance = kind_of(kind).allowance.value
    assert log_of(user) == [("user.mail_limit_reached", {"allowance": [None, allowance], "limit": [None, 2]})]
    assert (MailCount.objects.get().sent, MailCount.objects.get().refused) == (2, 3)


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_codes_to_a_verified_address_are_never_dropped(mailbox: SmtpServer) -> None:
    """A stranger who asks for codes to `alice+x@` would keep Alice out."""
    reader("alice")
    assert [send("account_code", "alice+x@example.org") for _ in range(3)][-1] is Delivery.LIMITED
    assert [send("account_code") for _ in range(5)] == [Delivery.SENT] * 5


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_the_limit_of_an_unknown_address_is_recorded(mailbox: SmtpServer) -> None:
    assert [send("account_code", "nobody@example.org") for _ in range(4)][2:] == [Delivery.LIMITED] * 2
    entry = Change.objects.get()
    assert (entry.action, entry.target_id, entry.target_label) == ("user.mail_limit_reached", None, "")


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_a_notice_of_security_over_the_limit_waits_for_the_next_day(
    mailbox: SmtpServer, work: Callable[[datetime], None]
) -> None:
    from duely.accounts import actions
    from duely.accounts.rules import Role

    user = reader("alice")
    for role in (Role.ADMIN, Role.MEMBER, Role.INTERN):
        person(f"admin-{role}", role="admin")
        actions.change_user(actor=None, user_id=user.id, role=role, now=now())
    at = now()
    work(at)
    assert len(mailbox.received) == 2
    waiting = Job.objects.get(name="accounts.tell_owner", state="waiting")
    assert abs(waiting.run_at - limits.next_day(at)) < timedelta(minutes=1)
    Job.objects.update(run_at=at)
    work(limits.next_day(at))
    assert len(mailbox.received) == 3


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_only_mail_that_may_have_arrived_is_counted(mailbox: SmtpServer) -> None:
    reader("alice")
    mailbox.faults = {Step.RCPT: "450 4.2.1 Try later"}
    for _ in range(3):
        with pytest.raises(Postponed):
            send("reminder")
    mailbox.faults = {Step.RCPT: "550 5.1.1 No such user"}
    assert [send("reminder") for _ in range(3)] == [Delivery.REFUSED] * 3
    mailbox.faults = {Step.MESSAGE: Drop()}
    with pytest.raises(Postponed):
        send("reminder")
    mailbox.faults = {}
    assert [send("reminder") for _ in range(2)] == [Delivery.SENT, Delivery.LIMITED]


@pytest.mark.django_db
@pytest.mark.usefixtures("two_a_day")
def test_the_limit_restarts_at_midnight_utc(mailbox: SmtpServer) -> None:
    reader("alice")
    late = datetime(2026, 12, 1, 23, 59, 59, 999000, UTC)
    assert [send("reminder", at=late) for _ in range(3)][-1] is Delivery.LIMITED
    assert limits.next_day(late) == late + timedelta(milliseconds=1)
    assert send("reminder", at=limits.next_day(late)) is Delivery.SENT


@pytest.mark.django_db
def test_counts_of_past_days_are_purged() -> None:
    at = now()
    for days in (0, 7, 8, 9):
        counts = limits.counts_of_mailbox("alice@example.org", Allowance.CODES)
        limits.spend("alice@example.org", counts, at - timedelta(days=days))
    assert [limits.purge(now=at, limit=1), limits.purge(now=at), limits.purge(now=at)] == [1, 1, 0]
    assert MailCount.objects.count() == 2


@pytest.mark.usefixtures("committed_db")
def test_the_limit_is_exact_over_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DAILY_LIMITS", {**DAILY_LIMITS, Allowance.NOTICES: 10})
    user, at, start = reader("alice"), now(), threading.Barrier(4)
    counts = limits.counts_of_mailbox("alice@example.org", Allowance.NOTICES)
    spent: list[bool] = []

    def spend() -> None:
        start.wait()
        spent.extend([limits.spend("alice@example.org", counts, at) is None for _ in range(5)])
        connection.close()

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (spent.count(True), spent.count(False)) == (10, 10)
    assert [action for action, _ in log_of(user)] == ["user.mail_limit_reached"]


def test_codes_and_security_have_limits_of_their_own() -> None:
    assert {KINDS[kind].allowance for kind in TO_UNPROVEN} == {*Allowance} - {Allowance.NOTICES}
    assert DAILY_LIMITS.keys() == set(Allowance)


def test_a_mail_has_its_kind(settings: Any) -> None:
    from duely.accounts import previews as of_accounts
    from duely.notifications import previews as of_notifications

    shown = [*of_accounts.previews(), *of_notifications.previews()]
    assert {mail.kind for _, mail in shown} == KINDS.keys()
