"""Signing out, and the list of where one is signed in."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine

from cast import PASSWORD, Api, adam, alice, bob, log_of, person, refresh_token_of, session_of
from duely.accounts import access
from duely.accounts.models import Session
from duely.accounts.rules import MAX_SESSION_DAYS, MAX_SESSIONS
from duely.core import clock
from duely.core.actor import Actor, Origin
from duely.core.errors import Forbidden
from duely.core.ids import new_id

pytestmark = pytest.mark.django_db


def sign_in(name: str = "alice") -> dict[str, str]:
    return Api().post("auth/login/", {"username": name, "password": PASSWORD}).json()


def using(pair: dict[str, str]) -> Api:
    return Api(headers={"Authorization": f"Bearer {pair['access']}"})


def test_signing_out_ends_the_session_at_once() -> None:
    user = person("alice")
    pair, other = sign_in(), sign_in()
    response = Api().post("auth/logout/", {"refresh": pair["refresh"]})
    assert (response.status_code, response.content) == (204, b"")
    assert using(pair).get("users/me/").status_code == 401
    assert using(other).get("users/me/").status_code == 200
    assert Api().post("auth/token/refresh/", {"refresh": pair["refresh"]}).status_code == 401
    session = Session.objects.get(ended_at__isnull=False)
    assert session.end_reason == "signed_out"
    assert log_of(user)[2:] == [("auth.logged_out", {"session": [str(session.id), None]})]


def test_a_used_token_signs_out_too() -> None:
    person("alice")
    pair = sign_in()
    new = Api().post("auth/token/refresh/", {"refresh": pair["refresh"]}).json()
    assert Api().post("auth/logout/", {"refresh": pair["refresh"]}).status_code == 204
    assert using(new).get("users/me/").status_code == 401


@pytest.mark.parametrize("token", ["x", "dlr_" + "a" * 43])
def test_signing_out_with_an_unknown_token_is_no_error(token: str) -> None:
    from duely.activity.models import Change

    assert Api().post("auth/logout/", {"refresh": token}).status_code == 204
    assert not Change.objects.exists()


def test_signing_out_twice_is_recorded_once() -> None:
    user = person("alice")
    pair = sign_in()
    for _ in range(2):
        assert Api().post("auth/logout/", {"refresh": pair["refresh"]}).status_code == 204
    assert [action for action, _ in log_of(user)] == ["auth.login_succeeded", "auth.logged_out"]


def test_signing_out_everywhere_ends_every_session() -> None:
    user = person("alice")
    pairs = [sign_in() for _ in range(3)]
    theirs = Api(bob())
    assert using(pairs[0]).post("auth/logout-all/").status_code == 204
    assert {using(pair).get("users/me/").status_code for pair in pairs} == {401}
    assert {Api().post("auth/refresh/", {"refresh": pair["refresh"]}).status_code for pair in pairs} == {401}
    assert theirs.get("users/me/").status_code == 200
    assert log_of(user)[3:] == [("auth.logged_out_everywhere", {"sessions": [3, 0]})]


def test_the_list_says_where_one_is_signed_in() -> None:
    api = Api(alice())
    session_of(bob())
    Api().post("auth/login/", {"username": "alice", "password": PASSWORD}, User_Agent="Phone")
    response = api.get("auth/sessions/")
    assert response.status_code == 200
    rows = response.json()["data"]
    assert [(row["user_agent"], row["ip"], row["current"]) for row in rows] == [
        ("Phone", "127.0.0.1", False),
        ("tests", None, True),
    ]
    assert rows[0].keys() == {"id", "ip", "user_agent", "created_at", "last_used_at", "expires_at", "current"}


def test_the_list_leaves_out_what_is_over() -> None:
    from duely.core import clock

    api = Api(alice())
    session_of(api.user)
    ended = session_of(api.user)
    Session.objects.filter(pk=ended.pk).update(ended_at=clock.now())
    expired = session_of(api.user)
    Session.objects.filter(pk=expired.pk).update(expires_at=clock.now())
    assert len(api.get("auth/sessions/").json()["data"]) == 2


def test_the_list_has_pages_orders_and_fields() -> None:
    api = Api(alice())
    for _ in range(4):
        session_of(api.user)
    seen: list[str] = []
    path = "auth/sessions/?limit=2&ordering=created_at&fields=id"
    cursor = ""
    while True:
        page = api.get(path + cursor).json()
        seen += [row["id"] for row in page["data"]]
        assert all(row.keys() == {"id"} for row in page["data"])
        if not page["pagination"]["has_more"]:
            break
        cursor = f"&cursor={page['pagination']['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert api.get("auth/sessions/?ordering=user__password").status_code == 400
    assert api.get("auth/sessions/?user=1").status_code == 400


def test_ending_one_session_works_at_once() -> None:
    api = Api(alice())
    pair = sign_in()
    session = Session.objects.exclude(user_agent="tests").get()
    assert api.delete(f"auth/sessions/{session.id}/").status_code == 204
    assert using(pair).get("users/me/").status_code == 401
    assert api.get("users/me/").status_code == 200
    assert log_of(api.user)[1:] == [("auth.session_ended", {"session": [str(session.id), None]})]
    assert api.delete(f"auth/sessions/{session.id}/").status_code == 404


def test_one_can_end_the_session_one_is_in() -> None:
    api = Api(alice())
    assert api.delete(f"auth/sessions/{Session.objects.get().id}/").status_code == 204
    assert api.get("users/me/").status_code == 401


@pytest.mark.parametrize("who", [bob, adam])
def test_the_session_of_someone_else_is_not_there(who: Any) -> None:
    session = session_of(alice())
    api = Api(who())
    foreign = api.delete(f"auth/sessions/{session.id}/", X_Request_ID="same")
    unknown_id = new_id()
    unknown = api.delete(f"auth/sessions/{unknown_id}/", X_Request_ID="same")
    assert foreign.status_code == 404
    assert foreign.content.replace(str(session.id).encode(), b"") == unknown.content.replace(
        str(unknown_id).encode(), b""
    )
    session.refresh_from_db()
    assert session.ended_at is None


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "auth/sessions/"),
        ("POST", "auth/logout-all/"),
        ("DELETE", "auth/sessions/0198c3a0-0000-7000-8000-000000000000/"),
    ],
)
def test_strangers_are_asked_to_sign_in(method: str, path: str) -> None:
    assert Api().call(method, path).status_code == 401


def test_the_list_takes_two_statements(django_assert_num_queries: Any) -> None:
    api = Api(alice())
    with django_assert_num_queries(2):
        api.get("auth/sessions/")


def test_a_role_that_is_not_in_the_table_may_not_even_look_at_itself() -> None:
    user = alice()
    session = session_of(user)
    actor = Actor(user.id, user.username, "unheard of", session.id, "UTC", Origin())
    with pytest.raises(Forbidden):
        access.session_for(actor, session.id, clock.now())
    with pytest.raises(Forbidden):
        access.user_for(actor, user.id)
    with pytest.raises(Forbidden):
        access.require_management(actor, user.id)


# How many, and for how long


def sessions_used(user: Any, number: int, at: datetime) -> list[Session]:
    """So many sessions, each used a minute after the one before."""
    return [session_of(user, at=at + timedelta(minutes=minute)) for minute in range(number)]


def test_the_fifty_first_session_ends_the_one_not_used_for_longest() -> None:
    user = alice()
    sessions = sessions_used(user, MAX_SESSIONS, clock.now() - timedelta(days=1))
    Session.objects.filter(pk=sessions[0].pk).update(last_used_at=clock.now())  # the oldest, but in use

    answer = Api().post("auth/login/", {"username": "alice", "password": PASSWORD})

    assert answer.status_code == 200
    assert Session.objects.filter(ended_at__isnull=True).count() == MAX_SESSIONS
    ended = Session.objects.get(ended_at__isnull=False)
    assert (ended.pk, ended.end_reason) == (sessions[1].pk, "too_many")
    assert log_of(user)[0] == ("auth.session_ended", {"session": [str(ended.pk), None]})


def test_fifty_sessions_end_none() -> None:
    user = alice()
    sessions_used(user, MAX_SESSIONS - 1, clock.now() - timedelta(days=1))

    Api().post("auth/login/", {"username": "alice", "password": PASSWORD})

    assert Session.objects.filter(ended_at__isnull=True).count() == MAX_SESSIONS


def test_sessions_from_before_the_limit_end_with_the_next_one() -> None:
    user = alice()
    sessions_used(user, MAX_SESSIONS + 7, clock.now() - timedelta(days=1))

    Api().post("auth/login/", {"username": "alice", "password": PASSWORD})

    assert Session.objects.filter(ended_at__isnull=True).count() == MAX_SESSIONS
    assert [action for action, _ in log_of(user)] == ["auth.session_ended"] * 8 + ["auth.login_succeeded"]


def test_a_session_ends_after_ninety_days_however_much_it_is_used() -> None:
    """By the clock alone: no clean-up has run."""
    alice()
    with time_machine.travel(clock.now(), tick=False) as traveller:
        pair = Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).json()
        for _ in range(15):
            traveller.shift(timedelta(days=5, hours=23))
            answer = Api().post("auth/token/refresh/", {"refresh": pair["refresh"]})
            assert answer.status_code == 200
            pair = answer.json()
        # The 90th day is to end in 15 hours.
        traveller.shift(timedelta(hours=14, minutes=55))
        answer = Api().post("auth/token/refresh/", {"refresh": pair["refresh"]})
        assert answer.status_code == 200
        pair = answer.json()
        api = Api(headers={"Authorization": f"Bearer {pair['access']}"})
        assert len(api.get("auth/sessions/").json()["data"]) == 1

        traveller.shift(timedelta(minutes=6))  # the access token would work for ten

        assert api.get("tasks/").status_code == 401
        assert Api().post("auth/token/refresh/", {"refresh": pair["refresh"]}).status_code == 401


def test_a_session_from_before_the_greatest_age_ends_too() -> None:
    user, now = alice(), clock.now()
    session = session_of(user, at=now - timedelta(days=MAX_SESSION_DAYS, seconds=1))
    Session.objects.update(expires_at=now + timedelta(days=7), last_used_at=now)

    assert Api().post("auth/token/refresh/", {"refresh": refresh_token_of(session)}).status_code == 401
    assert Api(user).get("auth/sessions/").json()["pagination"]["total_returned"] == 1
