"""Whose an e-mail address is: verifying it, signing up where that is required, changing it."""

from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, Api, faults, log_of, new_code, new_token, person
from duely.accounts import actions, codes
from duely.accounts.models import Code, Session, SignUp, User
from duely.accounts.rules import Purpose
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.core import clock
from duely.core.errors import AlreadyExists
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.mail import limits
from duely.mail.models import MailCount
from duely.mail.rules import Allowance

pytestmark = pytest.mark.django_db

ALICE = "alice@example.org"
OTHER = "other@example.org"


def verify(token: str, password: str | None = None, **headers: str) -> Any:
    body = {"token": token} if password is None else {"token": token, "password": password}
    return Api().post("auth/verify-email/", body, **headers)


def sign_up(**fields: Any) -> Any:
    form = {"username": "alice", "email": ALICE, "password": PASSWORD, **fields}
    return Api().post("auth/signup/", form, X_Request_ID="same")


def sign_in(**who: str) -> Any:
    return Api().post("auth/login/", {"username": "alice", "password": PASSWORD, **who})


def change(api: Api, email: str = OTHER, password: str = PASSWORD) -> Any:
    return api.post("auth/change-email/", {"email": email, "current_password": password})


def token_of(purpose: str) -> str:
    return codes.token(Purpose(purpose), Code.objects.get(purpose=purpose, ended_at=None).id)


# Verifying


def test_a_new_account_is_sent_a_link_that_verifies_its_address() -> None:
    sign_up()
    user = User.objects.get()
    assert Job.objects.get().args == {"code_id": str(Code.objects.get().id)}
    assert not user.email_verified
    assert verify(token_of("verify_email"), PASSWORD).status_code == 200
    user.refresh_from_db()
    assert user.email_verified
    assert log_of(user)[1:] == [
        ("auth.verification_requested", {}),
        ("user.email_verified", {"email_verified": [False, True], "sessions": [0, 0]}),
    ]
    assert sign_in().status_code == 200


def test_bad_tokens_get_one_answer() -> None:
    user, gone, moved = person("alice"), person("gone"), person("moved")
    used, late = new_token(user, "verify_email"), new_token(user, "verify_email")
    tokens = [used, "dlc_" + "A" * 48, late[:-1], "", new_token(user, "reset_token")]
    tokens += [codes.token(purpose, new_id()) for purpose in Purpose]
    tokens += [
        new_token(gone, "verify_email"),
        new_token(gone, "change_email", OTHER),
        new_token(moved, "verify_email"),
    ]
    actions.change_user(actor=None, user_id=gone.id, is_active=False, now=clock.now())
    User.objects.filter(pk=moved.pk).update(email_key="elsewhere@example.org")
    replies = [verify(token, X_Request_ID="same") for token in tokens if token]
    with time_machine.travel(clock.now() + timedelta(hours=24)):
        replies.append(verify(late, X_Request_ID="same"))
    assert {reply.status_code for reply in replies} == {400}
    assert len({reply.content for reply in replies}) == 1
    assert replies[0].json()["code"] == "invalid_token"
    assert not User.objects.filter(email_verified=True).exists()
    assert verify(late).status_code == 200
    assert verify(late).status_code == 400


def test_a_token_that_is_used_up_leaves_the_others_alone() -> None:
    user, other = person("alice"), person("bob")
    token = new_token(user, "verify_email")
    left = new_token(other, "verify_email")
    assert verify(token).status_code == 200
    assert Code.objects.filter(ended_at=None).count() == 1
    assert verify(left).status_code == 200


def test_verifying_what_is_verified_changes_nothing() -> None:
    user = person("alice")
    token = new_token(user, "verify_email")
    User.objects.update(email_verified=True)
    assert verify(token).status_code == 200
    assert log_of(user) == []


@pytest.fixture
def two_links_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTER_SHARES", {**limits.REQUESTER_SHARES, Allowance.LINKS: 2})


@pytest.mark.usefixtures("two_links_a_day")
def test_a_link_can_be_sent_again_until_the_address_is_verified() -> None:
    user = person("alice")
    api = Api(user)
    first = api.post("auth/resend-verification/")
    assert first.status_code == 200
    older = token_of("verify_email")
    assert api.post("auth/resend-verification/").json() == first.json()
    assert verify(older).status_code == 400
    assert api.post("auth/resend-verification/").status_code == 429
    assert api.post("auth/verify-email/", {"token": token_of("verify_email")}).status_code == 200
    assert api.post("auth/resend-verification/").json() == first.json()
    assert Job.objects.count() == 2
    assert [action for action, _ in log_of(user)] == [
        *["auth.verification_requested"] * 2,
        "user.mail_limit_reached",
        "user.email_verified",
    ]


@pytest.mark.usefixtures("two_links_a_day")
def test_whoever_has_no_link_left_is_told_until_when() -> None:
    api = Api(person("alice"))
    answers = [api.post("auth/resend-verification/") for _ in range(3)]

    seconds = int(answers[2].headers["Retry-After"])
    assert (answers[2].status_code, answers[2].json()["code"]) == (429, "rate_limited")
    assert "daily limit of links that you may request" in answers[2].json()["detail"]
    assert 1 <= seconds <= 86_400
    tomorrow = limits.next_day(clock.now()) + timedelta(seconds=1)
    with time_machine.travel(tomorrow):
        assert Api(User.objects.get()).post("auth/resend-verification/").status_code == 200


def test_a_mailbox_has_a_daily_limit_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DAILY_LIMITS", {**limits.DAILY_LIMITS, Allowance.LINKS: 2})
    people = [Api(person(f"name{number}", email=f"Alice+{number}@Example.org")) for number in range(3)]

    answers = [api.post("auth/resend-verification/") for api in people]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "This mailbox has reached its daily limit of links." in answers[2].json()["detail"]


@pytest.mark.usefixtures("two_links_a_day")
@pytest.mark.parametrize("email", ["alice+x@example.org", "ALICE@EXAMPLE.ORG", "Alice+y@example.ORG"])
def test_another_spelling_of_a_mailbox_is_no_new_share(email: str) -> None:
    api = Api(person("bob"))
    assert [change(api, ALICE).status_code for _ in range(2)] == [200, 200]

    assert change(api, email).status_code == 429


@pytest.mark.usefixtures("two_links_a_day")
def test_a_user_has_one_share_from_many_addresses(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    user = person("bob")
    statuses = []
    for number in range(3):
        api = Api(user, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        statuses.append(change(api, ALICE).status_code)

    assert statuses == [200, 200, 429]


@pytest.mark.usefixtures("two_links_a_day")
def test_a_link_refused_to_one_costs_others_nothing(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    for _ in range(5):
        change(Api(person(f"name-{new_id().hex}"), headers={"X-Forwarded-For": "203.0.113.1"}), ALICE)

    owner = Api(person("owner"), headers={"X-Forwarded-For": "192.0.2.50"})

    assert change(owner, ALICE).status_code == 200


@pytest.mark.parametrize("email", [ALICE, "gone@example.org", "nobody@example.org"])
@pytest.mark.parametrize("required", [True, False])
def test_the_limit_of_links_tells_nothing_of_accounts(
    email: str, required: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No mail goes to `gone@`, and no link to a new address that is someone's. Both count all the same."""
    settings.REQUIRE_EMAIL_VERIFICATION = required
    monkeypatch.setattr(limits, "DAILY_LIMITS", {**limits.DAILY_LIMITS, Allowance.LINKS: 2})
    person("alice", email_verified=True)
    person("gone", is_active=False)

    if required:
        statuses = [sign_up(username=f"name{number}", email=email).status_code for number in range(3)]
        assert statuses == [201, 201, 429]
    else:
        people = [Api(person(f"name{number}")) for number in range(3)]
        assert [change(api, email).status_code for api in people] == [200, 200, 429]


@pytest.mark.usefixtures("two_links_a_day")
def test_without_a_link_left_an_account_is_made_all_the_same() -> None:
    answers = [sign_up(username=f"name{number}", email=f"alice+{number}@example.org") for number in range(3)]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert Code.objects.count() == 2
    api = Api(User.objects.get(username="name2"))
    assert "POST auth/resend-verification/" in api.get("profile/").json()["mail_hint"]
    assert api.post("auth/resend-verification/").status_code == 429


@pytest.mark.usefixtures("two_links_a_day")
def test_sign_in_says_when_no_link_was_sent(settings: Any) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    person("alice")
    details = [sign_in().json()["detail"] for _ in range(3)]

    assert "just sent" in details[0]
    assert "just sent" not in details[2]
    assert "daily limit" in details[2]


# A link shows that somebody reads the mail, not that they chose the password


def test_the_link_of_somebody_elses_sign_up_leaves_nobody_inside() -> None:
    """Mallory signs up with Alice's address; Alice follows the link in good faith (account pre-hijacking)."""
    sign_up()
    mallory = sign_in().json()
    inside = Api(headers={"Authorization": f"Bearer {mallory['access']}"})
    assert change(inside, "mallory@example.org").status_code == 200
    prepared = token_of("change_email")

    answer = verify(token_of("verify_email"))

    assert answer.status_code == 200
    assert "has no password now" in answer.json()["message"]
    assert inside.get("users/me/").status_code == 401
    assert Api().post("auth/token/refresh/", {"refresh": mallory["refresh"]}).status_code == 401
    assert sign_in().status_code == 401
    assert verify(prepared).status_code == 400
    user = User.objects.get()
    assert log_of(user)[-1][0] == "auth.login_failed"
    assert (
        "user.email_verified",
        {"email_verified": [False, True], "sessions": [1, 0], "has_password": [True, False]},
    ) in (log_of(user))


def test_one_who_had_no_password_loses_none() -> None:
    user = person("alice", password="!")
    assert verify(new_token(user, "verify_email")).status_code == 200
    assert log_of(user) == [("user.email_verified", {"email_verified": [False, True], "sessions": [0, 0]})]
    assert not Job.objects.exists()


@pytest.mark.parametrize("purpose", ["verify_email", "change_email"])
def test_a_wrong_password_leaves_the_link_as_it_is(purpose: str) -> None:
    user = person("alice")
    link = new_token(user, purpose, OTHER if purpose == "change_email" else None)
    assert faults(verify(link, "wrong")) == {"password": "wrong_password"}
    assert log_of(user) == [("auth.email_verification_failed", {})]
    assert verify(link, PASSWORD).status_code == 200
    assert sign_in().status_code == 200


def test_an_access_token_that_works_no_more_leaves_the_link_as_it_is() -> None:
    user = person("alice")
    api, link = Api(user), new_token(user, "verify_email")
    api.post("auth/logout-all/")
    link = new_token(user, "verify_email")
    assert api.post("auth/verify-email/", {"token": link}).status_code == 401
    assert verify(link, PASSWORD).status_code == 200


def test_the_session_of_another_account_shows_nothing() -> None:
    user, other = person("alice"), Api(person("bob"))
    assert other.post("auth/verify-email/", {"token": new_token(user, "verify_email")}).status_code == 200
    assert sign_in().status_code == 401
    assert other.get("users/me/").status_code == 200


def test_a_session_that_ends_after_the_check_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import queries

    user = person("alice")
    api, link, look = Api(user), new_token(user, "verify_email"), queries.usable_code

    def and_end(*args: Any) -> Any:
        Session.objects.update(ended_at=clock.now())
        return look(*args)

    monkeypatch.setattr(queries, "usable_code", and_end)
    assert api.post("auth/verify-email/", {"token": link}).status_code == 200
    assert sign_in().status_code == 401


def test_a_password_that_changes_after_the_check_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import password_checks

    def check_then_lose(*_: Any, **__: Any) -> bool:
        User.objects.update(password="!")
        return True

    user = person("alice")
    monkeypatch.setattr(password_checks, "is_right", check_then_lose)
    assert verify(new_token(user, "verify_email"), PASSWORD).status_code == 400
    assert not User.objects.get().email_verified


# Where it is required


@pytest.fixture
def required(settings: Any) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True


@pytest.mark.usefixtures("required")
def test_an_account_is_made_when_its_address_is_verified() -> None:
    response = sign_up()
    assert response.status_code == 201
    assert not User.objects.exists()
    assert sign_in().status_code == 401
    kept = SignUp.objects.get()
    assert PASSWORD not in kept.password
    assert Job.objects.get().args == {"sign_up_id": str(kept.id)}
    token = codes.token(Purpose.SIGN_UP, kept.id)
    assert verify(token, PASSWORD).status_code == 200
    user = User.objects.get()
    assert response.json()["id"] == str(user.id)
    assert (user.username, user.email, user.email_verified, user.role) == ("alice", ALICE, True, "member")
    assert log_of(user) == [("user.created", {"username": [None, "alice"], "role": [None, "member"]})]
    of_nobody = Change.objects.filter(owner_id=SYSTEM_LOG).order_by("seq").values_list("action", flat=True)
    assert list(of_nobody) == ["auth.sign_up_requested", "auth.login_failed"]
    assert sign_in().status_code == 200
    assert verify(token).status_code == 400
    assert not SignUp.objects.exists()


@pytest.mark.usefixtures("required")
def test_the_link_alone_makes_an_account_without_the_password() -> None:
    """Somebody else may have chosen it, and waits for the owner of the address to confirm."""
    sign_up()
    answer = verify(codes.token(Purpose.SIGN_UP, SignUp.objects.get().id))
    assert answer.status_code == 200
    assert "has no password now" in answer.json()["message"]
    assert sign_in().status_code == 401
    assert not User.objects.get().has_usable_password()


@pytest.mark.usefixtures("required")
def test_a_wrong_password_leaves_the_sign_up_as_it_is() -> None:
    sign_up()
    link = codes.token(Purpose.SIGN_UP, SignUp.objects.get().id)
    assert faults(verify(link, "wrong")) == {"password": "wrong_password"}
    assert not User.objects.exists()
    assert Change.objects.filter(owner_id=SYSTEM_LOG, action="auth.email_verification_failed").count() == 1
    assert verify(link, PASSWORD).status_code == 200


@pytest.mark.usefixtures("required")
def test_an_account_of_the_operator_ends_sign_ups_with_its_address() -> None:
    sign_up(username="mallory", email="root@example.org")
    link = codes.token(Purpose.SIGN_UP, SignUp.objects.get().id)
    actions.create_admin(username="root", email="root@example.org", password=PASSWORD, now=clock.now())
    assert verify(link, PASSWORD).status_code == 400
    assert not SignUp.objects.exists()


@pytest.mark.usefixtures("required")
def test_a_sign_up_says_and_does_the_same_with_an_address_that_is_taken() -> None:
    person("bob", email="taken@example.org")
    replies, statements = [], []
    for name, email in (("carol", "free@example.org"), ("dave", "taken@example.org")):
        with CaptureQueriesContext(connection) as captured:
            replies.append(sign_up(username=name, email=email))
        statements.append([query["sql"].split(" ")[0] for query in captured])
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json().keys() == replies[1].json().keys()
    assert replies[0].headers.keys() == replies[1].headers.keys()
    assert statements[0] == statements[1]
    # Neither the name nor a sign-in tells which of the two was made.
    again = [sign_up(username=name, email="more@example.org") for name in ("carol", "dave")]
    assert [reply.status_code for reply in again] == [409, 409]
    assert [faults(reply) for reply in again] == [{"username": "already_exists"}] * 2
    tries = [sign_in(username=name) for name in ("carol", "dave")]
    assert [reply.status_code for reply in tries] == [401, 401]
    by_mail = [
        Api().post("auth/login/", {"email": email, "password": PASSWORD + "!"}, X_Request_ID="same")
        for email in ("free@example.org", "taken@example.org")
    ]
    assert by_mail[0].content == by_mail[1].content


@pytest.mark.usefixtures("required")
def test_bad_fields_and_taken_names_are_refused_there_too() -> None:
    person("bob")
    assert faults(sign_up(username="a b", password="short")).keys() == {"username", "password"}
    assert faults(sign_up(username="BOB")) == {"username": "already_exists"}
    assert not SignUp.objects.exists()


@pytest.mark.usefixtures("required")
def test_a_name_that_nobody_came_for_is_free_again() -> None:
    at = clock.now()
    sign_up(email="first@example.org")
    first = SignUp.objects.get()
    with time_machine.travel(at + timedelta(hours=24, seconds=1)):
        assert sign_up(email="second@example.org").status_code == 201
        assert verify(codes.token(Purpose.SIGN_UP, first.id)).status_code == 400
        assert verify(codes.token(Purpose.SIGN_UP, SignUp.objects.get().id)).status_code == 200
    assert User.objects.get().email == "second@example.org"


@pytest.mark.usefixtures("required")
def test_a_name_that_waits_for_its_owner_is_nobody_elses() -> None:
    sign_up()
    at = clock.now()

    def make(name: str, email: str, now: datetime) -> User:
        return actions.create_admin(username=name, email=email, password=PASSWORD, now=now)

    with pytest.raises(AlreadyExists):
        make("ALICE", OTHER, at)
    by_code = Api().post("auth/verify-otp/", {"email": "alice@example.com", "code": new_code("alice@example.com")})
    assert by_code.status_code == 200
    assert User.objects.get().username.startswith("alice-")
    assert make("Alice", OTHER, SignUp.objects.get().expires_at).username == "Alice"


@pytest.mark.usefixtures("required")
def test_who_is_quicker_gets_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import queries

    sign_up()
    before = counted_links()
    monkeypatch.setattr(queries, "is_name_taken", lambda *_: False)

    assert faults(sign_up(email=OTHER)) == {"username": "already_exists"}
    assert SignUp.objects.get().email == ALICE
    assert counted_links() == before


def counted_links() -> int:
    return sum(MailCount.objects.filter(allowance=Allowance.LINKS.value).values_list("sent", flat=True))


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize("has_account", [True, False])
def test_signing_up_again_replaces_the_pending_sign_up(has_account: bool) -> None:
    """The same happens, and is answered, when the address has an account."""
    if has_account:
        person("bob", email=ALICE, email_verified=True)
    first = sign_up()
    older = codes.token(Purpose.SIGN_UP, SignUp.objects.get().id)

    second = sign_up(username="ALICE", email="Alice@Example.org", password="another-long-sentence")

    assert [first.status_code, second.status_code] == [201, 201]
    newest = SignUp.objects.get()
    assert second.json()["id"] == str(newest.id) != first.json()["id"]
    assert [job.args["sign_up_id"] for job in Job.objects.order_by("id")][-1] == str(newest.id)
    assert verify(older, PASSWORD).status_code == 400
    if not has_account:
        newer = codes.token(Purpose.SIGN_UP, newest.id)
        assert faults(verify(newer, PASSWORD)) == {"password": "wrong_password"}
        assert verify(newer, "another-long-sentence").status_code == 200
        assert User.objects.get().username == "ALICE"


@pytest.mark.usefixtures("required")
@pytest.mark.parametrize("taken_by", ["a pending sign-up with another address", "an account"])
def test_a_sign_up_that_is_refused_uses_up_no_link(taken_by: str) -> None:
    if taken_by == "an account":
        person("alice", email=OTHER)
    else:
        sign_up(email=OTHER)
    before = counted_links()

    answers = [sign_up() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [409] * 3
    assert counted_links() == before
    assert sign_up(username="bob").status_code == 201


@pytest.mark.usefixtures("required")
def test_of_two_sign_ups_with_one_address_the_first_to_verify_wins() -> None:
    sign_up(username="one")
    sign_up(username="two")
    one, two = (codes.token(Purpose.SIGN_UP, kept.id) for kept in SignUp.objects.order_by("username"))
    assert verify(two).status_code == 200
    response = verify(one)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_token")
    assert User.objects.get().username == "two"


@pytest.mark.usefixtures("required")
def test_a_sign_up_that_is_finished_twice_at_once_makes_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import queries

    sign_up()
    kept = SignUp.objects.get()
    monkeypatch.setattr(queries, "usable_sign_up", lambda *_: kept)
    token = codes.token(Purpose.SIGN_UP, kept.id)
    assert [verify(token).status_code for _ in range(2)] == [200, 400]


@pytest.mark.usefixtures("required")
@pytest.mark.usefixtures("two_links_a_day")
def test_a_mail_box_is_not_flooded_by_sign_ups() -> None:
    assert [sign_up(username=f"name{number}").status_code for number in range(3)] == [201, 201, 429]


@pytest.mark.usefixtures("required")
def test_who_has_not_verified_is_sent_a_link_at_sign_in() -> None:
    user = person("alice")
    response = sign_in()
    assert (response.status_code, response.json()["code"]) == (403, "email_not_verified")
    assert sign_in(password="wrong").status_code == 401
    assert verify(token_of("verify_email"), PASSWORD).status_code == 200
    assert sign_in().status_code == 200
    assert [action for action, _ in log_of(user)][:2] == ["auth.verification_requested", "auth.login_failed"]


@pytest.mark.usefixtures("required")
def test_the_admins_pages_ask_for_it_too() -> None:
    from django.test import Client

    person("adam", role="admin")
    page = Client().post("/admin/login/", {"username": "adam", "password": PASSWORD})
    assert page.status_code == 200
    User.objects.update(email_verified=True)
    assert Client().post("/admin/login/", {"username": "adam", "password": PASSWORD}).status_code == 302


def test_an_admin_made_by_the_operator_is_verified() -> None:
    user = actions.create_admin(username="root", email="root@example.org", password=PASSWORD, now=clock.now())
    assert user.email_verified
    assert not Job.objects.exists()


# Changing it


def test_an_address_changes_when_the_new_one_is_confirmed() -> None:
    user = person("alice")
    api = Api(user)
    reset, old = new_token(user, "reset_token"), new_token(user, "verify_email")
    response = change(api, " Other@Example.org ")
    assert response.status_code == 200
    user.refresh_from_db()
    assert user.email == ALICE
    assert api.post("auth/verify-email/", {"token": token_of("change_email")}).status_code == 200
    user.refresh_from_db()
    assert (user.email, user.email_key, user.email_verified) == ("Other@Example.org", OTHER, True)
    assert log_of(user) == [
        ("auth.email_change_requested", {}),
        (
            "user.email_changed",
            {"email": [ALICE, "Other@Example.org"], "email_verified": [False, True], "sessions": [0, 0]},
        ),
    ]
    assert api.get("users/me/").json()["email"] == "Other@Example.org"
    assert Api().post("auth/login/", {"email": OTHER, "password": PASSWORD}).status_code == 200
    assert verify(old).status_code == 400
    body = {"reset_token": reset, "new_password": "another-long-sentence"}
    assert Api().post("auth/reset-password/", body).status_code == 400


def test_a_wrong_password_changes_nothing_and_is_recorded() -> None:
    user = person("alice")
    assert faults(change(Api(user), password="wrong")) == {"current_password": "wrong_password"}
    assert not Code.objects.exists()
    assert log_of(user) == [("auth.email_change_failed", {})]


def test_an_account_without_a_password_sets_one_first() -> None:
    assert faults(change(Api(person("alice", password="!")), password="!")) == {"current_password": "wrong_password"}


def test_a_password_that_changes_during_the_check_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import password_checks

    def check_then_lose(*_: Any, **__: Any) -> bool:
        User.objects.update(password="!")
        return True

    api = Api(person("alice"))
    monkeypatch.setattr(password_checks, "is_right", check_then_lose)
    assert faults(change(api)) == {"current_password": "wrong_password"}
    assert not Code.objects.exists()


def test_asking_tells_nothing_of_other_accounts() -> None:
    person("bob", email=OTHER)
    api = Api(person("alice"))
    assert change(api).content == change(api, "free@example.org").content


def test_an_address_that_is_taken_meanwhile_is_refused() -> None:
    user = person("alice")
    change(Api(user))
    person("bob", email=OTHER)
    response = verify(token_of("change_email"))
    assert (response.status_code, response.json()["code"]) == (409, "already_exists")
    user.refresh_from_db()
    assert user.email == ALICE


@pytest.mark.usefixtures("two_links_a_day")
def test_a_mail_box_is_not_flooded_by_changes_to_it() -> None:
    people = [Api(person(name)) for name in ("alice", "bob", "carol")]
    assert [change(api).status_code for api in people] == [200, 200, 429]
    assert change(people[2], "free@example.org").status_code == 200
    assert Job.objects.count() == 3


def test_two_may_ask_for_one_address() -> None:
    alice, bob = person("alice"), person("bob")
    change(Api(alice))
    change(Api(bob))
    assert Code.objects.filter(ended_at=None).count() == 2
    token = codes.token(Purpose.CHANGE_EMAIL, Code.objects.get(user=alice).id)
    assert verify(token).status_code == 200


def test_the_newest_link_alone_works() -> None:
    api = Api(person("alice"))
    change(api)
    older = token_of("change_email")
    change(api, "third@example.org")
    assert verify(older).status_code == 400
    assert verify(token_of("change_email")).status_code == 200
    assert User.objects.get().email == "third@example.org"
