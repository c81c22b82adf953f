"""What is over goes away: refresh tokens that ran out, and sessions long after their end."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session as PageSession

from cast import Api, alice, log_of, session_of
from duely.accounts import actions, tokens
from duely.accounts.jobs import purge_sessions
from duely.accounts.models import RefreshToken, Session
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.queue import claim, enqueue
from duely.jobs.runner import execute

pytestmark = pytest.mark.django_db


def token_of(session: Any, expires_at: datetime) -> Any:
    return RefreshToken.objects.create(
        id=new_id(),
        session=session,
        token_hash=tokens.digest(tokens.new_refresh()),
        created_at=expires_at - timedelta(days=7),
        expires_at=expires_at,
    )


def test_a_refresh_token_goes_when_it_has_run_out() -> None:
    at = now()
    session = session_of(alice())
    spent, good = token_of(session, at - timedelta(seconds=1)), token_of(session, at + timedelta(seconds=1))
    assert actions.purge_sessions(now=at) == 1
    assert set(RefreshToken.objects.values_list("pk", flat=True)) == {good.pk}
    assert spent.pk not in set(RefreshToken.objects.values_list("pk", flat=True))
    assert Session.objects.filter(pk=session.pk).exists()


def test_a_session_goes_thirty_days_after_it_ran_out_with_its_tokens() -> None:
    user, at = alice(), now()
    old = session_of(user, at=at - timedelta(days=7 + 30, seconds=1))
    recent = session_of(user, at=at - timedelta(days=7 + 29))
    token_of(old, at - timedelta(days=30, seconds=1))
    assert actions.purge_sessions(now=at) == 2
    assert list(Session.objects.values_list("pk", flat=True)) == [recent.pk]
    assert actions.purge_sessions(now=at) == 0
    assert log_of(user) == []


def test_so_many_go_at_a_time_and_no_more() -> None:
    at = now()
    session = session_of(alice())
    for _ in range(5):
        token_of(session, at - timedelta(days=1))
    assert [actions.purge_sessions(now=at, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_job_leaves_those_who_are_signed_in_alone() -> None:
    me = Api(alice())
    dead, alive = SessionStore(), SessionStore()
    for page, seconds in ((dead, -1), (alive, 60)):
        page["user"] = "adam"
        page.set_expiry(seconds)
        page.create()
    token_of(session_of(alice_again()), now() - timedelta(days=1))
    enqueue(purge_sessions)
    for running in claim("test", 1):
        execute(running)
    assert not RefreshToken.objects.exists()
    assert list(PageSession.objects.values_list("pk", flat=True)) == [alive.session_key]
    assert me.get("tasks/").status_code == 200


def alice_again() -> Any:
    from duely.accounts.models import User

    return User.objects.get(username="alice")
