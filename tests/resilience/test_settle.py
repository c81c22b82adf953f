"""The judge of mails must find what is wrong; a run that is always clean proves nothing."""

from uuid import UUID

from tests.resilience import kill_mail, smtp
from tests.resilience.kill_mail import Kill
from tests.resilience.reminders import Arrival, Promise, settle

NOTICE = UUID(int=7)
ADA = "ada@example.org"
PROMISED = {"Water the plants": Promise("Water the plants", UUID(int=1), 10.0, ADA, certain=True)}


def arrival(title: str = "Water the plants", *, to: str = ADA, at: float = 11.0, notice: UUID = NOTICE) -> Arrival:
    return Arrival(f"<reminder.{notice}@localhost>", title, to, at)


def test_a_mail_that_came_once_is_right() -> None:
    account = settle(PROMISED, [arrival()], refused=frozenset())
    assert account.arrived == 1
    assert [account.lost, account.wrong, account.doubled] == [[], [], []]


def test_a_mail_that_did_not_come_is_lost() -> None:
    assert settle(PROMISED, [], refused=frozenset()).lost == list(PROMISED.values())


def test_a_mail_to_a_refused_recipient_is_not_lost() -> None:
    assert not settle(PROMISED, [], refused=frozenset({ADA})).lost


def test_a_reminder_that_may_have_been_in_the_past_is_not_lost() -> None:
    promise = Promise("Water the plants", None, 10.0, ADA, certain=False)
    assert not settle({promise.title: promise}, [], refused=frozenset()).lost


def test_a_mail_that_nobody_was_promised_is_wrong() -> None:
    assert settle({}, [arrival()], refused=frozenset()).wrong


def test_a_mail_to_someone_else_is_wrong() -> None:
    assert settle(PROMISED, [arrival(to="mallory@example.org")], refused=frozenset()).wrong


def test_a_reminder_that_came_under_two_ids_is_wrong() -> None:
    assert settle(PROMISED, [arrival(), arrival(notice=UUID(int=8))], refused=frozenset()).wrong


def test_a_mail_that_came_twice_is_doubled_and_the_earlier_stands_first() -> None:
    account = settle(PROMISED, [arrival(at=12.0), arrival(at=11.0)], refused=frozenset())
    assert [[copy.taken_at for copy in copies] for copies in account.doubled] == [[11.0, 12.0]]


def test_a_kill_between_the_two_explains_a_doubled_mail_and_no_other_kill_does() -> None:
    doubled = [[arrival(at=11.0), arrival(at=45.0)]]
    explains = Kill(at=11.5, pid=1, hit=frozenset({NOTICE}), seconds=1.0)
    assert kill_mail._unexplained(doubled, [explains])[0] == []
    for kill in (
        Kill(at=11.5, pid=1, hit=frozenset(), seconds=1.0),
        Kill(at=5.0, pid=1, hit=frozenset({NOTICE}), seconds=1.0),
        Kill(at=50.0, pid=1, hit=frozenset({NOTICE}), seconds=1.0),
    ):
        assert kill_mail._unexplained(doubled, [kill])[0] == [doubled[0][1]]


def test_a_lost_answer_explains_a_doubled_mail_and_other_troubles_do_not() -> None:
    doubled = [[arrival(at=11.0), arrival(at=12.0)]]
    for name, others in ((smtp.UNCONFIRMED, []), ("450", [doubled[0][1]])):
        phase = smtp.Phase(name, start=10.0, end=11.5, connections=1)
        assert smtp._unexplained(doubled, [phase])[0] == others
