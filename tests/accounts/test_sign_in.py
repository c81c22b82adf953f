"""Signing in."""

from typing import Any

import pytest

from cast import PASSWORD, Api, faults, log_of, person
from duely.accounts.models import RefreshToken, Session
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["auth/login/", "auth/login", "token/", "/api/token/"])
@pytest.mark.parametrize(
    "who",
    [{"username": "Alice"}, {"username": " ALICE "}, {"email": "ALICE@example.org"}, {"username": "alice@example.org"}],
)
def test_a_name_or_an_address_and_the_password_sign_in(path: str, who: dict[str, str]) -> None:
    user = person("alice")
    response = Api().post(path, {**who, "password": PASSWORD}, User_Agent="Browser 1.0")
    assert response.status_code == 200
    pair = response.json()
    assert pair.keys() == {"access", "refresh", "token_type", "expires_in"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 600)
    assert response.headers["Cache-Control"] == "no-store"
    session = Session.objects.get()
    assert (session.user_id, session.ip, session.user_agent) == (user.id, "127.0.0.1", "Browser 1.0")
    assert log_of(user) == [
        ("auth.login_succeeded", {"session": [None, str(session.id)], "method": [None, "password"]})
    ]
    me = Api(headers={"Authorization": f"Bearer {pair['access']}"}).get("users/me/")
    assert me.json()["id"] == str(user.id)


def test_each_sign_in_is_a_session_of_its_own() -> None:
    person("alice")
    pairs = [Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).json() for _ in range(2)]
    assert Session.objects.count() == RefreshToken.objects.count() == 2
    assert pairs[0]["refresh"] != pairs[1]["refresh"]


def test_unknown_wrong_and_inactive_get_one_answer() -> None:
    person("alice")
    person("gone", is_active=False)
    attempts = [
        {"username": "nobody", "password": PASSWORD},
        {"email": "nobody@example.org", "password": PASSWORD},
        {"email": "nobody", "password": PASSWORD},
        {"username": "no\0body", "password": PASSWORD},
        {"username": "alice", "password": "wrong-" + PASSWORD},
        {"username": "alice", "password": PASSWORD + " "},
        {"username": "alice", "password": PASSWORD.upper()},
        {"username": "gone", "password": PASSWORD},
        {"username": "gone", "password": "wrong"},
    ]
    answers = set()
    for attempt in attempts:
        response = Api().post("auth/login/", attempt, X_Request_ID="same")
        assert response.status_code == 401
        answers.add((response.content, tuple(sorted(response.headers.items()))))
    assert len(answers) == 1
    ((content, headers),) = answers
    assert b'"code":"invalid_credentials"' in content
    assert ("WWW-Authenticate", "Bearer") in headers


def test_failures_are_recorded_without_what_was_typed() -> None:
    user = person("alice")
    Api().post("auth/login/", {"username": "alice", "password": "guess-one"})
    Api().post("auth/login/", {"username": "MyPasswordByMistake", "password": "guess-two"})
    assert log_of(user) == [("auth.login_failed", {"method": [None, "password"]})]
    entry = Change.objects.get(owner_id=SYSTEM_LOG)
    assert (entry.action, entry.actor_id, entry.target_type, entry.target_id) == (
        "auth.login_failed",
        None,
        "user",
        None,
    )
    stored = "".join(str(value) for row in Change.objects.values_list() for value in row)
    assert "Mistake" not in stored
    assert "guess" not in stored


def test_an_unknown_user_costs_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts.hashers import NOBODYS_HASH, Argon2id

    checked = []
    verify = Argon2id.verify
    monkeypatch.setattr(Argon2id, "verify", lambda self, *args: checked.append(args[1]) or verify(self, *args))
    person("alice")
    person("gone", is_active=False)
    for name in ("alice", "nobody", "gone"):
        Api().post("auth/login/", {"username": name, "password": "wrong"})
    assert len(checked) == 3
    assert checked[1] == NOBODYS_HASH
    assert len({encoded.rsplit("$", 2)[0] for encoded in checked}) == 1


@pytest.mark.parametrize(
    "body, expected",
    [
        ({"password": PASSWORD}, {"username": "required"}),
        ({"username": "a", "email": "a@example.org", "password": PASSWORD}, {"email": "conflict"}),
        ({"username": "a"}, {"password": "required"}),
        ({"username": None, "password": PASSWORD}, {"username": "invalid_type"}),
        ({"username": ["a"], "password": {"a": 1}}, {"username": "invalid_type", "password": "invalid_type"}),
        ({"username": "a", "password": "x" * 513}, {"password": "too_long"}),
        ({"username": "a", "password": PASSWORD, "role": "admin"}, {"role": "unknown_field"}),
    ],
)
def test_a_bad_shape_is_refused(body: Any, expected: dict[str, str]) -> None:
    response = Api().post("auth/login/", body)
    assert response.status_code == 400
    assert faults(response) == expected


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"[]", b'{"username": "\\ud800", "password": "x"}', b'{"a":1,"a":2}', b"\xff"]
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    response = Api().post("auth/login/", body)
    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"


def test_another_media_type_is_refused() -> None:
    from django.test import Client

    assert Client().post("/api/v1/auth/login/", {"username": "a", "password": "b"}).status_code == 415


def test_signing_in_takes_few_statements(django_assert_max_num_queries: Any) -> None:
    person("alice")
    with django_assert_max_num_queries(10):
        Api().post("auth/login/", {"username": "alice", "password": PASSWORD})


def test_a_password_that_changes_during_the_check_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.accounts import password_checks
    from duely.accounts.models import User

    def check_then_lose(*_: Any, **__: Any) -> bool:
        User.objects.update(password="!")
        return True

    person("alice")
    monkeypatch.setattr(password_checks, "is_right", check_then_lose)
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 401
    assert not Session.objects.exists()
