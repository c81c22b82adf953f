"""Signing in with a code that was sent by e-mail."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, Api, alice, code_for, log_of, new_code, person, session_of
from duely.accounts import actions, codes, steps
from duely.accounts.models import Code, Session, User
from duely.accounts.rules import (
    LONG_CODE_MINUTES,
    MAX_MAILS,
    MAX_MAILS_PER_DAY,
    MAX_REQUESTS_PER_DAY,
    MAX_TRIES,
    MAX_WRONG_PER_DAY,
    Purpose,
    username_from,
)
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.core import clock
from duely.core.ids import new_id
from duely.guard import limits
from duely.guard.rules import Rate
from duely.jobs.models import Job
from duely.mail.rules import DAILY_LIMITS, Allowance
from smtp_server import SmtpServer, Step

pytestmark = pytest.mark.django_db

ALICE = "alice@example.org"


@pytest.fixture(autouse=True)
def no_refusals_remembered() -> Iterator[None]:
    yield
    limits.reset()


def ask(email: str = ALICE, path: str = "auth/request-otp/", **headers: str) -> Any:
    return Api().post(path, {"email": email}, **headers)


def answer(code: str, email: str = ALICE, **headers: str) -> Any:
    return Api().post("auth/verify-otp/", {"email": email, "code": code}, **headers)


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def log_of_nobody() -> list[tuple[str, dict[str, Any]]]:
    return list(Change.objects.filter(owner_id=SYSTEM_LOG).order_by("seq").values_list("action", "changes"))


def shapes(captured: CaptureQueriesContext) -> list[str]:
    """What was asked of the database, without the values."""
    return [re.split(r"\d|'|VALUES", query["sql"])[0] for query in captured]


# It works


@pytest.mark.parametrize("path", ["auth/request-otp/", "auth/request-otp", "/api/auth/request-otp"])
def test_a_code_signs_in(path: str) -> None:
    user = person("alice", email_verified=True)
    response = ask(path=path)
    assert (response.status_code, response.json()) == (200, {"message": "OTP sent successfully"})
    response = answer(code_for(ALICE), User_Agent="Browser 1.0")
    assert response.status_code == 200
    assert response.json().keys() == {"access", "refresh", "token_type", "expires_in"}
    session = Session.objects.get()
    assert (session.user_id, session.ip, session.user_agent) == (user.id, "127.0.0.1", "Browser 1.0")
    assert log_of(user) == [
        ("auth.otp_requested", {}),
        ("auth.login_succeeded", {"session": [None, str(session.id)], "method": [None, "code"]}),
    ]
    me = Api(headers={"Authorization": f"Bearer {response.json()['access']}"}).get("users/me/")
    assert me.json()["id"] == str(user.id)


def test_the_first_time_makes_the_account(settings: Any) -> None:
    settings.DEFAULT_ROLE = "intern"
    ask(" Grace.Hopper@Example.org ")
    assert not User.objects.exists()
    assert answer(code_for("grace.hopper@example.org"), "GRACE.hopper@example.org").status_code == 200
    user = User.objects.get()
    assert (user.username, user.email, user.email_verified) == ("Grace.Hopper", "Grace.Hopper@Example.org", True)
    assert (user.role, user.has_usable_password()) == ("intern", False)
    assert [action for action, _ in log_of(user)] == ["user.created", "auth.login_succeeded"]
    assert log_of_nobody() == [("auth.otp_requested", {})]
    assert Api().post("auth/login/", {"username": "grace.hopper", "password": PASSWORD}).status_code == 401


def test_the_second_time_is_the_same_account() -> None:
    for _ in range(2):
        ask()
        assert answer(code_for(ALICE)).status_code == 200
    assert (User.objects.count(), Session.objects.count()) == (1, 2)


def test_a_taken_name_gets_an_ending() -> None:
    person("alice", email="other@example.org")
    answer(new_code(ALICE))
    made = User.objects.get(email=ALICE)
    assert made.username.startswith("alice-")
    assert len(made.username) == len("alice-0123")


def test_who_finds_every_name_taken_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions.users.secrets, "token_hex", lambda size: "same")
    person("alice", email="other@example.org")
    person("alice-same", email="another@example.org")
    response = answer(new_code(ALICE))
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize(
    "email, name",
    [
        ("a.b+c-d_e@x.org", "a.b+c-d_e"),
        ("!#$%&'*/=?^`{|}~@x.org", "user"),
        ("a!b@x.org", "ab"),
        ("o'neil@x.org", "oneil"),
    ],
)
def test_names_are_made_of_addresses(email: str, name: str) -> None:
    assert username_from(email) == name
    assert username_from(email, "-ab") == name + "-ab"
    assert len(username_from("x" * 200 + "@x.org", "-ab")) == 150


def test_a_code_may_have_blanks() -> None:
    code = new_code(ALICE)
    assert answer(f" {code[:3]} {code[3:]}\n").status_code == 200


def test_a_code_is_six_digits_that_follow_from_its_row_and_a_key(settings: Any) -> None:
    made = {codes.digits(Purpose.SIGN_IN, new_id()) for _ in range(50)}
    assert len(made) > 40
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in made)
    row = new_id()
    before = codes.digits(Purpose.SIGN_IN, row)
    assert before != codes.digits(Purpose.RESET, row)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key-for-this-test-only-0123", [settings.SECRET_KEY]
    assert before != codes.digits(Purpose.SIGN_IN, row)
    assert codes.are_digits(before, Purpose.SIGN_IN, row)
    settings.SECRET_KEY_FALLBACKS = []
    assert not codes.are_digits(before, Purpose.SIGN_IN, row)


# It does not work


def test_wrong_used_old_and_unknown_get_one_answer() -> None:
    person("alice", email_verified=True)
    person("gone", is_active=False)
    used = new_code(ALICE)
    answer(used)
    replies = [answer(used, X_Request_ID="same")]
    code = new_code(ALICE)
    replies.append(answer(other_than(code), X_Request_ID="same"))
    replies += [answer(guess, X_Request_ID="same") for guess in ("no code", "１２３４５６", code + "0", "0")]
    replies.append(answer("123456", "nobody@example.org", X_Request_ID="same"))
    replies.append(answer(new_code("gone@example.org"), "gone@example.org", X_Request_ID="same"))
    late = new_code("late@example.org")
    with time_machine.travel(clock.now() + timedelta(minutes=5)):
        replies.append(answer(late, "late@example.org", X_Request_ID="same"))
    assert {reply.status_code for reply in replies} == {400}
    assert len({(reply.content, tuple(sorted(reply.headers.items()))) for reply in replies}) == 1
    assert b'"code":"invalid_code"' in replies[0].content
    assert not User.objects.filter(email="late@example.org").exists()


def test_a_code_works_for_as_long_as_the_setting_says(settings: Any) -> None:
    settings.OTP_MINUTES = 2
    code, at = new_code(ALICE), clock.now()
    with time_machine.travel(at + timedelta(minutes=2, seconds=1), tick=False):
        assert answer(code).status_code == 400
    with time_machine.travel(at + timedelta(minutes=1, seconds=59), tick=False):
        assert answer(code).status_code == 200


def test_the_code_of_one_is_no_code_of_another() -> None:
    code = new_code("alice@example.org")
    new_code("bob@example.org")
    assert answer(code, "bob@example.org").status_code == 400


def test_a_code_to_reset_a_password_does_not_sign_in() -> None:
    person("alice", email_verified=True)
    new_code(ALICE)
    assert answer(new_code(ALICE, "reset")).status_code == 400


def test_a_code_that_is_used_up_leaves_the_others_alone() -> None:
    person("alice", email_verified=True)
    code = new_code(ALICE)
    others = new_code(ALICE, "reset"), new_code("bob@example.org")
    assert answer(code).status_code == 200
    assert Code.objects.filter(ended_at=None, tries=0).count() == 2
    assert (code_for(ALICE, "reset"), code_for("bob@example.org")) == others


def test_the_fifth_guess_may_be_right() -> None:
    code = new_code(ALICE)
    for _ in range(MAX_TRIES - 1):
        answer(other_than(code))
    assert answer(code).status_code == 200
    assert Code.objects.get().tries == MAX_TRIES - 1


@pytest.mark.parametrize("wrong, status", [(4, 200), (5, 400)])
def test_a_requester_has_five_tries_at_a_code(wrong: int, status: int) -> None:
    code = new_code(ALICE)
    for _ in range(wrong):
        answer(other_than(code))
    assert answer(code).status_code == status


@pytest.mark.parametrize("wrong, status", [(24, 200), (25, 400)])
@pytest.mark.parametrize("purpose, path", [("sign_in", "auth/verify-otp/"), ("reset", "auth/verify-reset-otp/")])
def test_six_digits_are_compared_25_times_a_day_for_each_purpose(
    wrong: int, status: int, purpose: str, path: str
) -> None:
    person("alice")
    other = "reset" if purpose == "sign_in" else "sign_in"
    for of, tries in (*((purpose, tries) for tries in [5] * (wrong // 5) + [wrong % 5]), (other, 25)):
        new_code(ALICE, of)
        Code.objects.filter(ended_at=None).update(tries=tries, ended_at=clock.now())
    code, at = new_code(ALICE, purpose), clock.now()
    assert Api().post(path, {"email": ALICE, "code": code}).status_code == status
    new_code("bob@example.org")
    assert answer(code_for("bob@example.org"), "bob@example.org").status_code == 200
    Code.objects.filter(ended_at=None).update(ended_at=at)
    with time_machine.travel(at + timedelta(days=1, minutes=1)):
        assert Api().post(path, {"email": ALICE, "code": new_code(ALICE, purpose)}).status_code == 200


def test_a_guess_is_not_counted_where_it_could_be_taken_back() -> None:
    code, at = new_code(ALICE), clock.now()
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        steps.check_code(Purpose.SIGN_IN, ALICE, code, "192.0.2.1", at)


def test_a_failure_is_recorded_without_what_was_typed() -> None:
    user = person("alice", email_verified=True)
    code = new_code(ALICE)
    answer(other_than(code))
    answer("424242", "nobody@example.org")
    assert log_of(user) == [("auth.login_failed", {"method": [None, "code"]})]
    assert log_of_nobody() == [("auth.login_failed", {"method": [None, "code"]})]
    assert "424242" not in "".join(str(row) for row in Change.objects.values_list())


def test_nobody_new_gets_in_where_sign_up_is_switched_off(settings: Any) -> None:
    settings.SIGNUP_ENABLED = False
    person("alice", email_verified=True)
    assert ask("new@example.org").content == ask(ALICE).content
    assert answer(code_for("new@example.org"), "new@example.org").status_code == 400
    assert answer(code_for(ALICE)).status_code == 200
    assert User.objects.count() == 1


def test_a_code_of_someone_who_is_deactivated_meanwhile_is_refused() -> None:
    user = person("alice", email_verified=True)
    code = new_code(ALICE)
    actions.change_user(actor=None, user_id=user.id, is_active=False, now=clock.now())
    assert answer(code).status_code == 400
    assert not Session.objects.exists()


def test_deactivation_between_the_check_and_the_session_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import steps

    user = person("alice", email_verified=True)
    check = steps.check_code

    def then_gone(*args: Any) -> Any:
        found = check(*args)
        monkeypatch.setattr(steps, "lock", gone)
        return found

    def gone(user_id: Any) -> Any:
        User.objects.filter(pk=user_id).update(is_active=False)
        return User.objects.get(pk=user_id)

    monkeypatch.setattr(steps, "check_code", then_gone)
    assert answer(new_code(ALICE)).status_code == 400
    assert not Session.objects.exists()
    assert log_of(user) == [("auth.login_failed", {"method": [None, "code"]})]


# An account that someone else may have made


def test_who_proves_an_address_ends_what_was_set_up_without_it() -> None:
    """Mallory signs up with Alice's address and waits for Alice to come (account pre-hijacking)."""
    user = person("alice")
    theirs = Api(user)
    assert answer(new_code(ALICE)).status_code == 200
    assert theirs.get("users/me/").status_code == 401
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 401
    user.refresh_from_db()
    assert (user.email_verified, user.has_usable_password()) == (True, False)
    assert Session.objects.filter(ended_at=None).count() == 1
    changes = {"email_verified": [False, True], "sessions": [1, 0], "has_password": [True, False]}
    assert log_of(user)[0] == ("user.email_verified", changes)


def test_who_has_proven_it_before_keeps_password_and_sessions() -> None:
    user = person("alice", email_verified=True)
    here = Api(user)
    assert answer(new_code(ALICE)).status_code == 200
    assert here.get("users/me/").status_code == 200
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 200
    assert "user.email_verified" not in dict(log_of(user))


# Nothing tells who has an account


def test_asking_says_and_does_the_same_with_and_without_an_account() -> None:
    person("alice", email_verified=True)
    person("gone", is_active=False)
    replies, statements, jobs = [], [], []
    for email in (ALICE, "nobody@example.org", "gone@example.org"):
        with CaptureQueriesContext(connection) as captured:
            replies.append(ask(email, X_Request_ID="same"))
        statements.append(shapes(captured))
        jobs.append(Job.objects.filter(name="accounts.send_code").count())
    assert len({(reply.content, tuple(sorted(reply.headers.items()))) for reply in replies}) == 1
    assert statements[0] == statements[1] == statements[2]
    assert jobs == [1, 2, 3]


def test_a_guess_says_and_does_the_same_with_and_without_an_account() -> None:
    person("alice", email_verified=True)
    replies, statements = [], []
    for email in (ALICE, "nobody@example.org"):
        wrong = other_than(new_code(email))
        with CaptureQueriesContext(connection) as captured:
            replies.append(answer(wrong, email, X_Request_ID="same"))
        statements.append(shapes(captured))
    assert replies[0].content == replies[1].content
    assert statements[0] == statements[1]


# Limits


def test_one_address_is_sent_so_many_codes_and_no_more(settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "otp": Rate(3, 60)}
    limits.reset()
    for _ in range(2):
        assert ask().status_code == 200
    assert ask("bob@example.org").status_code == 200
    response = ask("carol@example.org")
    assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
    assert int(response.headers["Retry-After"]) > 0


# Strangers keep nobody out


@pytest.fixture
def many_requesters(settings: Any) -> None:
    """Requests say where they come from."""
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]


def by(address: str) -> dict[str, str]:
    return {"X_Forwarded_For": address}


PATHS = pytest.mark.parametrize(
    "path, other, purpose",
    [
        ("auth/request-otp/", "auth/forgot-password/", "sign_in"),
        ("auth/forgot-password/", "auth/request-otp/", "reset"),
    ],
    ids=["to sign in", "to reset"],
)
VERIFY = {"sign_in": "auth/verify-otp/", "reset": "auth/verify-reset-otp/"}


@PATHS
def test_a_code_that_works_is_mailed_again_when_another_is_asked_for(path: str, other: str, purpose: str) -> None:
    ask(path=path)
    first = code_for(ALICE, purpose)
    Job.objects.update(state="done")
    ask(path=path)
    row = Code.objects.get()
    assert (row.mails, code_for(ALICE, purpose)) == (2, first)
    assert [job.args for job in Job.objects.all()] == [{"code_id": str(row.id)}] * 2


@pytest.mark.parametrize("path", ["auth/request-otp/", "auth/forgot-password/"])
def test_asking_again_says_and_does_the_same_with_and_without_an_account(
    path: str, mailbox: SmtpServer, work: Callable[[datetime], None]
) -> None:
    """While the mail server is away: then the job of an account waits, and the other one has ended."""
    mailbox.faults = {Step.MAIL: "451 4.3.0 Try again later"}
    person("alice", email_verified=True)
    emails = (ALICE, "nobody@example.org")
    for email in emails:
        ask(email, path)
    work(clock.now())
    statements = []
    for email in emails:
        with CaptureQueriesContext(connection) as captured:
            ask(email, path)
        statements.append(shapes(captured))
    assert statements[0] == statements[1]


def test_a_code_is_mailed_three_times_and_then_lies_in_the_mailbox() -> None:
    for _ in range(6):
        assert ask().json() == {"message": "OTP sent successfully"}
        Job.objects.update(state="done")
    assert (Code.objects.get().mails, Job.objects.count()) == (MAX_MAILS, MAX_MAILS)
    assert answer(code_for(ALICE)).status_code == 200


@pytest.mark.parametrize("minutes", [1, 3, 4])
def test_a_code_never_ends_because_another_is_asked_for(minutes: int) -> None:
    at = clock.now()
    with time_machine.travel(at, tick=False):
        ask()
        first = code_for(ALICE)
    with time_machine.travel(at + timedelta(minutes=minutes), tick=False):
        ask()
        assert answer(first).status_code == 200


@pytest.mark.usefixtures("many_requesters")
def test_who_asks_gets_a_code_with_a_quarter_of_its_life_at_least() -> None:
    at = clock.now()
    for seconds in range(0, 1200, 25):
        with time_machine.travel(at + timedelta(seconds=seconds), tick=False):
            ask(**by(f"192.0.{seconds // 25}.2"))
            live = Code.objects.filter(ended_at=None, expires_at__gt=clock.now())
            assert max(code.expires_at for code in live) - clock.now() >= timedelta(seconds=75)
            assert len(live) <= 2


@pytest.mark.parametrize("used", [0, 1])
def test_of_two_codes_one_works_and_both_end(used: int) -> None:
    person("alice", email_verified=True)
    at = clock.now()
    with time_machine.travel(at, tick=False):
        ask()
        first = code_for(ALICE)
    with time_machine.travel(at + timedelta(minutes=4, seconds=30), tick=False):
        ask()
        both = [first, code_for(ALICE)]
        assert answer(both[used]).status_code == 200
        assert [answer(code).status_code for code in both] == [400, 400]


@PATHS
@pytest.mark.usefixtures("many_requesters")
def test_a_stranger_with_one_address_keeps_nobody_out(path: str, other: str, purpose: str) -> None:
    person("alice", email_verified=True)
    statuses = [ask(path=path, **by("203.0.113.9")).status_code for _ in range(MAX_REQUESTS_PER_DAY + 2)]
    assert statuses == [200] * MAX_REQUESTS_PER_DAY + [429] * 2
    assert ask(path=other, **by("203.0.113.9")).status_code == 200, "each purpose has a count of its own"
    assert ask("bob@example.org", path=path, **by("203.0.113.9")).status_code == 200

    assert ask(path=path, **by("192.0.2.50")).status_code == 200

    body = {"email": ALICE, "code": code_for(ALICE, purpose)}
    assert Api().post(VERIFY[purpose], body, **by("192.0.2.50")).status_code == 200


@PATHS
@pytest.mark.usefixtures("many_requesters")
def test_wrong_guesses_of_a_stranger_leave_the_code_to_its_owner(path: str, other: str, purpose: str) -> None:
    person("alice", email_verified=True)
    ask(path=path, **by("192.0.2.50"))
    code = code_for(ALICE, purpose)

    def guess(text: str, address: str) -> int:
        status: int = Api().post(VERIFY[purpose], {"email": ALICE, "code": text}, **by(address)).status_code
        return status

    for _ in range(MAX_TRIES + 5):
        assert guess(other_than(code), "203.0.113.9") == 400
    assert guess(code, "203.0.113.9") == 400
    assert guess(code, "192.0.2.50") == 200


@pytest.mark.usefixtures("many_requesters")
def test_who_mistypes_a_code_five_times_asks_for_another_one() -> None:
    ask()
    first = code_for(ALICE)
    for _ in range(MAX_TRIES):
        answer(other_than(first))
    ask(**by("203.0.113.9"))
    assert code_for(ALICE) == first, "for others it is as good as before"
    ask()
    second = code_for(ALICE)
    assert second != first
    assert Code.objects.filter(ended_at=None).count() == 2
    for _ in range(MAX_TRIES):
        answer(other_than(second))
    ask()
    assert code_for(ALICE) == second, "there are never more than two"


@PATHS
@pytest.mark.usefixtures("many_requesters")
def test_after_25_guesses_of_strangers_codes_are_long_and_work(path: str, other: str, purpose: str) -> None:
    person("alice", email_verified=True)

    def guess(text: str, address: str) -> int:
        status: int = Api().post(VERIFY[purpose], {"email": ALICE, "code": text}, **by(address)).status_code
        return status

    ask(path=path)
    digits = code_for(ALICE, purpose)
    for number in range(40):
        assert guess(other_than(digits), f"203.0.113.{number}") == 400
    assert Code.objects.get().tries == MAX_WRONG_PER_DAY
    assert guess(digits, "192.0.2.50") == 400

    assert ask(path=path, **by("192.0.2.50")).status_code == 200

    long = code_for(ALICE, purpose)
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", long)
    for number in range(40):
        assert guess("AAAA-AAAA-AAAA", f"203.0.113.{number}") == 400
    assert ask(path=path, **by("203.0.113.9")).status_code == 200
    assert code_for(ALICE, purpose) == long
    assert guess(long.lower().replace("-", " ").replace("0", "o").replace("1", "l"), "192.0.2.50") == 200
    assert sum(Code.objects.values_list("tries", flat=True)) == MAX_WRONG_PER_DAY
    assert guess(long, "192.0.2.50") == 400


@pytest.mark.slow
def test_a_mailbox_that_everybody_asks_for_gets_few_mails() -> None:
    """Requests from ever new addresses, twice a minute for a day. Yet a code that works is always there."""
    at, mails = clock.now(), 0
    for step in range(24 * 60 * 2):
        now = at + timedelta(seconds=30 * step)
        with transaction.atomic():
            mails += steps.code_to_mail(Purpose.SIGN_IN, ALICE, f"requester {step}", f"network {step}", now) is not None
        if step % 15 == 0:
            live = Code.objects.filter(ended_at=None, expires_at__gt=now + timedelta(minutes=1))
            assert live.exists()
    assert mails <= MAX_MAILS_PER_DAY + MAX_MAILS + 24 * 60 / (LONG_CODE_MINUTES * 3 / 4)
    assert 2 * mails < DAILY_LIMITS[Allowance.CODES]


def test_long_codes_follow_from_the_key_too(settings: Any) -> None:
    code = Code(id=new_id(), is_long=True)
    before = codes.text(Purpose.SIGN_IN, code)
    assert before != codes.text(Purpose.RESET, code)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key-for-this-test-only-0123", [settings.SECRET_KEY]
    assert before != codes.text(Purpose.SIGN_IN, code)
    assert codes.is_text(before, Purpose.SIGN_IN, code)
    settings.SECRET_KEY_FALLBACKS = []
    assert not codes.is_text(before, Purpose.SIGN_IN, code)


# What goes wrong around it


def test_every_bad_field_is_named_at_once() -> None:
    response = Api().post("auth/verify-otp/", {"email": "nobody", "code": "", "more": 1})
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {"email", "code", "more"}


def test_nothing_is_queued_when_the_change_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("duely.accounts.actions.codes.record", broken)
    assert ask().status_code == 500
    assert not Code.objects.exists()
    assert not Job.objects.exists()


def test_someone_who_asks_at_the_same_moment_sends_no_second_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import steps

    make: Callable[..., Code] = steps.new_code

    def overtaken(*args: Any, **kwargs: Any) -> Code:
        make(*args, **kwargs).save()
        return make(*args, **kwargs)

    monkeypatch.setattr(steps, "new_code", overtaken)
    assert ask().status_code == 200
    assert Code.objects.count() == 1
    assert not Job.objects.exists()


def test_an_account_that_is_made_at_the_same_moment_is_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import queries

    find = queries.user_by_email
    found: list[Any] = []

    def late(key: str) -> Any:
        if not found:
            found.append(person("alice", email_verified=True))
            return None
        return find(key)

    monkeypatch.setattr(queries, "user_by_email", late)
    assert answer(new_code(ALICE)).status_code == 200
    assert Session.objects.get().user_id == found[0].id


def test_a_session_of_the_same_user_elsewhere_goes_on() -> None:
    user = person("alice", email_verified=True)
    other = session_of(user)
    answer(new_code(ALICE))
    other.refresh_from_db()
    assert other.ended_at is None


def test_asking_while_signed_in_works_too() -> None:
    assert Api(alice()).post("auth/request-otp/", {"email": ALICE}).status_code == 200
