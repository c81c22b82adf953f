"""Setting a forgotten password anew, by a code that was sent by e-mail."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from cast import PASSWORD, Api, code_for, faults, log_of, new_code, new_token, person, session_of
from duely.accounts import actions, codes
from duely.accounts.models import Code, Session, User
from duely.accounts.rules import MAX_TRIES, Purpose
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.core import clock
from duely.core.ids import new_id

pytestmark = pytest.mark.django_db

ALICE = "alice@example.org"
NEW = "another-long-sentence-of-mine"


def exchange(code: str, email: str = ALICE, **headers: str) -> Any:
    return Api().post("auth/verify-reset-otp/", {"email": email, "code": code}, **headers)


def reset(token: str, password: str = NEW, **headers: str) -> Any:
    return Api().post("auth/reset-password/", {"reset_token": token, "new_password": password}, **headers)


def sign_in(password: str) -> Any:
    return Api().post("auth/login/", {"username": "alice", "password": password})


@pytest.mark.parametrize("path", ["auth/forgot-password/", "auth/forget-password/", "/api/auth/forget-password"])
def test_a_forgotten_password_is_set_anew(path: str) -> None:
    user = person("alice")
    elsewhere = Api(user)
    assert Api().post(path, {"email": " ALICE@example.org"}).status_code == 200
    response = exchange(code_for(ALICE, "reset"))
    assert (response.status_code, list(response.json())) == (200, ["reset_token"])
    token = response.json()["reset_token"]
    assert reset(token).status_code == 200
    assert sign_in(PASSWORD).status_code == 401
    assert sign_in(NEW).status_code == 200
    assert elsewhere.get("users/me/").status_code == 401
    user.refresh_from_db()
    assert user.email_verified
    assert log_of(user)[:3] == [
        ("auth.password_reset_requested", {}),
        ("auth.password_reset_granted", {}),
        ("auth.password_reset", {"sessions": [1, 0]}),
    ]
    assert Session.objects.filter(end_reason="password_reset").count() == 1
    assert "argon2" not in str(log_of(user))


def test_asking_says_the_same_with_and_without_an_account() -> None:
    person("alice")
    replies = [
        Api().post("auth/forgot-password/", {"email": email}, X_Request_ID="same")
        for email in (ALICE, "nobody@example.org")
    ]
    assert len({(reply.status_code, reply.content, tuple(sorted(reply.headers.items()))) for reply in replies}) == 1


def test_bad_codes_get_one_answer() -> None:
    person("alice")
    person("gone", is_active=False)
    code = new_code(ALICE, "reset")
    replies = [exchange(f"{(int(code) + 1) % 1_000_000:06}", X_Request_ID="same")]
    assert exchange(code).status_code == 200
    replies.append(exchange(code, X_Request_ID="same"))
    replies.append(exchange(new_code("gone@example.org", "reset"), "gone@example.org", X_Request_ID="same"))
    replies.append(exchange(new_code("nobody@example.org", "reset"), "nobody@example.org", X_Request_ID="same"))
    replies.append(exchange(new_code(ALICE), X_Request_ID="same"))
    assert len({reply.content for reply in replies}) == 1
    assert (replies[0].status_code, replies[0].json()["code"]) == (400, "invalid_code")


def test_failures_are_recorded() -> None:
    user = person("alice")
    new_code(ALICE, "reset")
    exchange("no code")
    exchange("no code", "nobody@example.org")
    assert log_of(user) == [("auth.password_reset_failed", {})]
    assert Change.objects.get(owner_id=SYSTEM_LOG).action == "auth.password_reset_failed"


def test_five_wrong_guesses_end_a_code() -> None:
    person("alice")
    code = new_code(ALICE, "reset")
    for _ in range(MAX_TRIES):
        exchange("no code")
    assert exchange(code).status_code == 400


def test_a_token_works_once() -> None:
    token = new_token(person("alice"), "reset_token")
    assert reset(token).status_code == 200
    response = reset(token, "yet-another-long-sentence")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_token")
    assert sign_in(NEW).status_code == 200


def test_bad_tokens_get_one_answer() -> None:
    user, gone = person("alice"), person("gone")
    used, old = new_token(user, "reset_token"), new_token(user, "reset_token")
    tokens = [used, "dlc_" + "A" * 48, old[:-1], old + "A", old.upper(), "dlr_" + "A" * 43]
    tokens.append(codes.token(Purpose.RESET_TOKEN, new_id()))  # rightly signed, of a row that is not there
    tokens.append(new_token(user, "verify_email"))
    tokens.append(new_token(gone, "reset_token"))
    actions.change_user(actor=None, user_id=gone.id, is_active=False, now=clock.now())
    replies = [reset(token, X_Request_ID="same") for token in tokens]
    with time_machine.travel(clock.now() + timedelta(minutes=10)):
        replies.append(reset(old, X_Request_ID="same"))
    assert [reply.status_code for reply in replies] == [400] * len(replies)
    assert len({reply.content for reply in replies}) == 1
    assert sign_in(PASSWORD).status_code == 200
    assert reset(old).status_code == 200


def test_a_newer_token_ends_the_older_one() -> None:
    user = person("alice")
    older = new_token(user, "reset_token")
    newer = exchange(new_code(ALICE, "reset")).json()["reset_token"]
    assert reset(older).status_code == 400
    assert reset(newer).status_code == 200


def test_a_changed_password_ends_the_token() -> None:
    user = person("alice")
    token = new_token(user, "reset_token")
    Api(user).post("auth/change-password/", {"current_password": PASSWORD, "new_password": NEW})
    assert reset(token, "yet-another-long-sentence").status_code == 400
    assert sign_in(NEW).status_code == 200


@pytest.mark.parametrize(
    "password, field, code",
    [("short", "new_password", "password_too_short"), ("alice@example.org", "new_password", "password_too_similar")],
)
def test_a_weak_password_is_refused_and_the_token_stays(password: str, field: str, code: str) -> None:
    token = new_token(person("alice"), "reset_token")
    assert faults(reset(token, password)) == {field: code}
    assert reset(token).status_code == 200


def test_the_same_password_again_is_refused_and_the_token_stays() -> None:
    token = new_token(person("alice"), "reset_token")
    response = reset(token, PASSWORD)
    assert (response.status_code, response.json()["code"]) == (400, "password_reused")
    assert reset(token).status_code == 200


def test_a_password_that_changes_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import password_checks

    user = person("alice")
    token = new_token(user, "reset_token")

    def check_then_lose(*_: Any, **__: Any) -> bool:
        User.objects.update(password="!changed-meanwhile")
        return False

    monkeypatch.setattr(password_checks, "is_reused", check_then_lose)
    assert reset(token).status_code == 400
    assert User.objects.get().password == "!changed-meanwhile"
    assert Code.objects.get().ended_at is None


def test_a_code_that_is_used_meanwhile_gives_no_second_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import steps

    person("alice")
    check = steps.check_code

    def then_used(*args: Any) -> Any:
        found = check(*args)
        Code.objects.update(ended_at=clock.now())
        return found

    monkeypatch.setattr(steps, "check_code", then_used)
    assert exchange(new_code(ALICE, "reset")).status_code == 400


def test_an_account_without_a_password_gets_one() -> None:
    user = person("alice", password="!", email_verified=True)
    here = session_of(user)
    assert reset(new_token(user, "reset_token")).status_code == 200
    assert sign_in(NEW).status_code == 200
    here.refresh_from_db()
    assert here.end_reason == "password_reset"


def test_sessions_of_the_admins_pages_end_too() -> None:
    from django.test import Client

    user = person("adam", role="admin")
    browser = Client()
    browser.post("/admin/login/", {"username": "adam", "password": PASSWORD})
    assert browser.get("/admin/").status_code == 200
    assert reset(new_token(user, "reset_token")).status_code == 200
    assert browser.get("/admin/").status_code == 302


def test_a_token_is_not_in_the_database() -> None:
    token = new_token(person("alice"), "reset_token")
    stored = str(list(Code.objects.values_list()))
    assert token not in stored
    assert token.removeprefix("dlc_") not in stored
