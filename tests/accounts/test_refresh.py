"""Refresh tokens: rotation, grace, reuse."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from cast import PASSWORD, Api, log_of, person, session_of
from duely.accounts import tokens
from duely.accounts.models import RefreshToken, Session
from duely.core import clock

pytestmark = pytest.mark.django_db
REFUSED = (401, "invalid_refresh_token")


def sign_in(name: str = "alice") -> dict[str, str]:
    return Api().post("auth/login/", {"username": name, "password": PASSWORD}).json()


def exchange(token: str, path: str = "auth/token/refresh/") -> Any:
    return Api().post(path, {"refresh": token})


def outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


def works(access: str) -> bool:
    return Api(headers={"Authorization": f"Bearer {access}"}).get("users/me/").status_code == 200


@pytest.mark.parametrize("path", ["auth/token/refresh/", "token/refresh/", "auth/refresh/", "/api/token/refresh"])
def test_a_refresh_token_gets_a_new_pair(path: str) -> None:
    person("alice")
    pair = sign_in()
    response = exchange(pair["refresh"], path)
    assert response.status_code == 200
    new = response.json()
    assert new.keys() == pair.keys()
    assert new["refresh"] != pair["refresh"]
    assert works(new["access"])
    assert Session.objects.count() == 1


def test_an_ordinary_exchange_is_not_in_the_log() -> None:
    user = person("alice")
    exchange(sign_in()["refresh"])
    assert [action for action, _ in log_of(user)] == ["auth.login_succeeded"]


def test_within_the_grace_the_same_successor_comes_again() -> None:
    person("alice")
    first = sign_in()["refresh"]
    successors = {exchange(first).json()["refresh"] for _ in range(4)}
    assert len(successors) == 1
    assert RefreshToken.objects.count() == 2


def test_once_the_successor_was_used_a_repeat_ends_the_session() -> None:
    user = person("alice")
    first = sign_in()
    second = exchange(first["refresh"]).json()
    third = exchange(second["refresh"]).json()
    assert outcome(exchange(first["refresh"])) == REFUSED
    assert outcome(exchange(third["refresh"])) == REFUSED
    assert not works(third["access"])
    session = Session.objects.get()
    assert session.end_reason == "token_reused"
    assert log_of(user)[1:] == [("auth.token_reuse_detected", {"session": [str(session.id), None]})]


def test_after_the_grace_a_repeat_ends_the_session() -> None:
    user = person("alice")
    with time_machine.travel(clock.now(), tick=False) as traveller:
        first = sign_in()
        second = exchange(first["refresh"]).json()
        traveller.shift(30)
        assert exchange(first["refresh"]).json()["refresh"] == second["refresh"]
        traveller.shift(1)
        assert outcome(exchange(first["refresh"])) == REFUSED
        assert not works(second["access"])
        assert outcome(exchange(second["refresh"])) == REFUSED
    assert [action for action, _ in log_of(user)] == ["auth.login_succeeded", "auth.token_reuse_detected"]


def test_reuse_is_recorded_once_and_by_nobody() -> None:
    from duely.activity.models import Change

    user = person("alice")
    first = sign_in()
    exchange(exchange(first["refresh"]).json()["refresh"])
    for _ in range(3):
        exchange(first["refresh"])
    entry = Change.objects.get(owner_id=user.id, action="auth.token_reuse_detected")
    assert (entry.actor_id, entry.ip, entry.target_id) == (None, "127.0.0.1", user.id)


def test_reuse_ends_only_its_own_session() -> None:
    person("alice")
    other, first = sign_in(), sign_in()
    exchange(exchange(first["refresh"]).json()["refresh"])
    exchange(first["refresh"])
    assert works(other["access"])
    assert exchange(other["refresh"]).status_code == 200


def test_without_grace_any_repeat_ends_the_session(settings: Any) -> None:
    settings.REFRESH_GRACE_SECONDS = 0
    person("alice")
    with time_machine.travel(clock.now(), tick=False) as traveller:
        first = sign_in()
        exchange(first["refresh"])
        traveller.shift(0.001)
        assert outcome(exchange(first["refresh"])) == REFUSED
    assert Session.objects.get().end_reason == "token_reused"


def test_a_session_lives_as_long_as_its_newest_token() -> None:
    person("alice")
    with time_machine.travel(clock.now(), tick=False) as traveller:
        token = sign_in()["refresh"]
        for _ in range(3):
            traveller.shift(timedelta(days=6, hours=23))
            response = exchange(token)
            assert response.status_code == 200
            token = response.json()["refresh"]
        traveller.shift(timedelta(days=7))
        assert outcome(exchange(token)) == REFUSED
    assert Session.objects.get().ended_at is None


def test_an_exchange_prolongs_no_other_session() -> None:
    user = person("alice")
    with time_machine.travel(clock.now(), tick=False) as traveller:
        token = sign_in()["refresh"]
        others = [session_of(user), session_of(person("bob"))]
        traveller.shift(timedelta(days=1))
        assert exchange(token).status_code == 200
    for other in others:
        used, expires = other.last_used_at, other.expires_at
        other.refresh_from_db()
        assert (other.last_used_at, other.expires_at) == (used, expires)


def test_a_session_that_ends_meanwhile_gets_no_new_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    successor = tokens.next_refresh

    def end_first(token: str) -> str:
        Session.objects.update(ended_at=clock.now())
        return successor(token)

    person("alice")
    token = sign_in()["refresh"]
    before = Session.objects.get().expires_at
    monkeypatch.setattr(tokens, "next_refresh", end_first)
    assert outcome(exchange(token)) == REFUSED
    assert RefreshToken.objects.get().used_at is None
    assert Session.objects.get().expires_at == before


def test_an_access_token_works_ten_minutes() -> None:
    person("alice")
    with time_machine.travel(clock.now(), tick=False) as traveller:
        access = sign_in()["access"]
        traveller.shift(599)
        assert works(access)
        traveller.shift(1)
        assert not works(access)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "dlr_",
        "dlr_" + "a" * 43,
        "dlr_" + "a" * 42,
        "DLR_" + "a" * 43,
        "é" * 40,
        "a" * 255,
        "dlr_" + "a" * 43 + "\n",
    ],
)
def test_unknown_tokens_are_refused(token: str) -> None:
    assert outcome(exchange(token)) == REFUSED


def test_the_stored_hash_is_no_token() -> None:
    person("alice")
    sign_in()
    assert outcome(exchange(RefreshToken.objects.get().token_hash)) == REFUSED
    assert outcome(exchange("dlr_" + RefreshToken.objects.get().token_hash[:43])) == REFUSED


def test_an_access_token_is_no_refresh_token() -> None:
    person("alice")
    pair = sign_in()
    assert exchange(pair["access"]).status_code == 400
    assert exchange(pair["access"][:255]).status_code == 401
    assert not works(pair["refresh"])


def test_a_deactivated_user_gets_no_new_tokens() -> None:
    from duely.accounts.models import User

    person("alice")
    token = sign_in()["refresh"]
    User.objects.update(is_active=False)
    assert outcome(exchange(token)) == REFUSED


def test_tokens_outlive_a_change_of_the_secret_key(settings: Any) -> None:
    person("alice")
    first = sign_in()
    second = exchange(first["refresh"]).json()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, made for the rotation of keys 4711"
    assert works(first["access"])
    assert exchange(first["refresh"]).json()["refresh"] == second["refresh"]
    third = exchange(second["refresh"]).json()
    assert works(third["access"])
    assert tokens.key_id(tokens.current_key("access")) in str(tokens.jwt.get_unverified_header(third["access"]))
    settings.SECRET_KEY_FALLBACKS = []
    assert not works(first["access"])
    assert works(third["access"])
    fourth = exchange(third["refresh"])
    assert fourth.status_code == 200


def test_an_exchange_takes_few_statements(django_assert_max_num_queries: Any) -> None:
    person("alice")
    token = sign_in()["refresh"]
    with django_assert_max_num_queries(6):
        assert exchange(token).status_code == 200
