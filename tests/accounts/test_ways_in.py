"""Every way in holds to the same rules. A new way to sign in stands in a table here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from cast import PASSWORD, Api, log_of, new_code, person
from duely.accounts import actions
from duely.accounts.actions import sessions
from duely.accounts.models import Session, User
from duely.accounts.rules import Role
from duely.core import clock
from duely.guard import limits
from duely.guard.rules import Rate
from duely.jobs.models import Job
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Way:
    """A way in: `credential` is made for a user, `enter` tries it, `is_in` reads the answer."""

    name: str
    credential: Callable[[Any], Any]
    enter: Callable[[Any, Any], Any]
    wrong: Any
    is_in: Callable[[Any], bool] = lambda response: response.status_code == 200


def by_password(user: Any, password: str) -> Any:
    return Api().post("auth/login/", {"username": user.username, "password": password})


def by_code(user: Any, code: str) -> Any:
    return Api().post("auth/verify-otp/", {"email": user.email, "code": code})


def by_admins_page(user: Any, password: str) -> Any:
    return Client().post("/admin/login/", {"username": user.username, "password": password})


WAYS = [
    Way("password", lambda _: PASSWORD, by_password, "not-the-password"),
    Way("code", lambda user: new_code(user.email), by_code, "no code"),
    Way("admin's page", lambda _: PASSWORD, by_admins_page, "not-the-password", lambda it: it.status_code == 302),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


@pytest.fixture
def user() -> Any:
    """An admin, since the admin's page lets nobody else in."""
    return person("adam", role="admin", email_verified=True)


def test_every_way_to_begin_a_session_is_in_the_table() -> None:
    """The functions that record a sign-in, found by what they write."""
    import ast
    import inspect
    from pathlib import Path

    found = set()
    for path in Path(inspect.getfile(sessions)).parent.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                text = ast.unparse(function)
                if (
                    "'auth.login_succeeded'" in text.partition('"""')[2].rpartition('"""')[2]
                    or "begin_session(" in text
                ):
                    found.add(function.name)
    assert found - {"begin_session"} == {"sign_in", "_use", "sign_in_to_admin"}


@each_way
def test_it_lets_in_whom_it_should(way: Way, user: Any) -> None:
    assert way.is_in(way.enter(user, way.credential(user)))
    assert log_of(user)[-1][0] == "auth.login_succeeded"


@each_way
def test_it_keeps_out_and_records_a_wrong_credential(way: Way, user: Any) -> None:
    way.credential(user)
    assert not way.is_in(way.enter(user, way.wrong))
    assert [action for action, _ in log_of(user)] == ["auth.login_failed"]


@each_way
def test_it_keeps_out_and_records_the_deactivated(way: Way, user: Any) -> None:
    credential = way.credential(user)
    User.objects.update(is_active=False)
    assert not way.is_in(way.enter(user, credential))
    assert [action for action, _ in log_of(user)] == ["auth.login_failed"]
    assert not Session.objects.exists()


@each_way
def test_tries_are_limited(way: Way, user: Any, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "login": Rate(3, 60)}
    limits.reset()
    credential = way.credential(user)
    for _ in range(3):
        assert not way.is_in(way.enter(user, way.wrong))
    assert not way.is_in(way.enter(user, credential))
    assert not Session.objects.exists()


@each_way
def test_success_does_not_give_tries_back(way: Way, user: Any, settings: Any) -> None:
    """An attacker with an account of their own would reset the count again and again."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "login": Rate(3, 60)}
    limits.reset()
    way.enter(user, way.wrong)
    assert way.is_in(way.enter(user, way.credential(user)))
    way.enter(user, way.wrong)
    assert not way.is_in(way.enter(user, way.credential(user)))


def test_a_mail_that_waits_is_not_sent_to_the_deactivated(mailbox: SmtpServer, work: Any, user: Any) -> None:
    person("another-admin", role="admin")
    for path in ("auth/request-otp/", "auth/forgot-password/"):
        Api().post(path, {"email": user.email})
    actions.change_user(actor=None, user_id=user.id, is_active=False, now=clock.now())
    work(clock.now())
    assert [mail.message["Subject"] for mail in mailbox.received] == ["Your account was deactivated"]
    assert not Job.objects.exclude(state="done").exists()


def test_a_new_role_counts_on_the_next_request(user: Any) -> None:
    person("another-admin", role="admin")
    api = Api(user)
    assert api.get("users/").status_code == 200
    actions.change_user(actor=None, user_id=user.id, role=Role.MEMBER, now=clock.now())
    assert api.get("users/").status_code == 401
    assert Api(user).get("users/").status_code == 403
