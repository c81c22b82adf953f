"""Making accounts."""

from typing import Any

import pytest

from cast import PASSWORD, Api, faults, log_of, person
from duely.accounts import actions, queries
from duely.accounts.models import User
from duely.core import clock
from duely.core.errors import AlreadyExists, ValidationFailed

pytestmark = pytest.mark.django_db
PATHS = ["auth/signup/", "auth/signup", "register/", "auth/register/", "/api/register/", "/api/auth/signup"]


def form(**fields: Any) -> dict[str, Any]:
    return {"username": "alice", "email": "alice@example.org", "password": PASSWORD, **fields}


@pytest.mark.parametrize("path", PATHS)
def test_anyone_can_make_an_account(path: str) -> None:
    response = Api().post(path, form(username="Alice", email=" Alice@Example.org "))
    assert response.status_code == 201
    user = User.objects.get()
    assert response.json() == {
        "id": str(user.id),
        "username": "Alice",
        "email": "Alice@Example.org",
        "email_verified": False,
        "role": "member",
        "is_active": True,
        "created_at": clock.rfc3339(user.created_at),
    }
    assert user.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert log_of(user) == [
        ("user.created", {"username": [None, "Alice"], "role": [None, "member"]}),
        ("auth.verification_requested", {}),
    ]


def test_new_accounts_get_the_default_role(settings: Any) -> None:
    settings.DEFAULT_ROLE = "intern"
    assert Api().post("auth/signup/", form()).json()["role"] == "intern"


def test_nobody_can_sign_up_where_that_is_switched_off(settings: Any) -> None:
    settings.SIGNUP_ENABLED = False
    response = Api().post("auth/signup/", form())
    assert response.status_code == 403
    assert response.json()["code"] == "signup_disabled"
    assert not User.objects.exists()


def test_every_bad_field_is_named_at_once() -> None:
    response = Api().post("auth/signup/", {"username": "a b", "email": "nobody", "password": "short", "role": "admin"})
    assert response.status_code == 400
    assert response.json()["code"] == "validation_failed"
    assert faults(response) == {
        "role": "unknown_field",
        "username": "invalid_username",
        "email": "invalid_email",
        "password": "password_too_short",
    }


@pytest.mark.parametrize("name", ["r\u03bfot", "r\u043eot", "r\u0585ot", "r\u101dot"])
def test_a_name_that_looks_like_another_is_refused(name: str) -> None:
    person("root")

    response = Api().post("auth/signup/", form(username=name))

    assert (response.status_code, faults(response)) == (400, {"username": "mixed_scripts"})
    assert "scripts" in response.json()["errors"][0]["message"]
    assert User.objects.count() == 1


def test_an_account_keeps_the_name_it_has() -> None:
    person("\u03a9mega")

    assert Api().post("auth/login/", {"username": "\u03a9mega", "password": PASSWORD}).status_code == 200


def test_missing_and_mistyped_fields_are_named() -> None:
    assert faults(Api().post("auth/signup/", {})) == dict.fromkeys(["username", "email", "password"], "required")
    wrong = dict.fromkeys(["username", "email", "password"], 7)
    assert faults(Api().post("auth/signup/", wrong)) == dict.fromkeys(wrong, "invalid_type")


@pytest.mark.parametrize(
    "name",
    ["id", "role", "is_active", "is_staff", "is_superuser", "email_verified", "created_at", "username_key", "owner"],
)
def test_what_is_not_for_sign_up_cannot_be_sent(name: str) -> None:
    response = Api().post("auth/signup/", form(**{name: "admin"}))
    assert response.status_code == 400
    assert faults(response) == {name: "unknown_field"}
    assert not User.objects.exists()


def test_a_password_like_the_name_is_refused() -> None:
    response = Api().post("auth/signup/", form(username="alexandra", password="alexandra-1"))
    assert faults(response) == {"password": "password_too_similar"}


@pytest.mark.parametrize(
    "fields, taken",
    [
        ({"username": "ALICE", "email": "other@example.org"}, {"username"}),
        ({"username": "other", "email": "ALICE@example.org"}, {"email"}),
        ({"username": "Alice"}, {"username", "email"}),
    ],
)
def test_a_taken_name_or_address_is_refused(fields: dict[str, str], taken: set[str]) -> None:
    person("alice")
    response = Api().post("auth/signup/", form(**fields))
    assert response.status_code == 409
    assert response.json()["code"] == "already_exists"
    assert faults(response) == dict.fromkeys(taken, "already_exists")


def test_names_are_the_same_in_any_case_of_any_script() -> None:
    assert Api().post("auth/signup/", form(username="Jürgen")).status_code == 201
    response = Api().post("auth/signup/", form(username="JÜRGEN", email="b@example.org"))
    assert faults(response) == {"username": "already_exists"}
    response = Api().post("auth/signup/", form(username="ju\u0308rgen", email="b@example.org"))
    assert faults(response) == {"username": "already_exists"}


def test_the_database_refuses_a_second_account_of_the_same_name() -> None:
    from django.db import IntegrityError, transaction

    person("alice")
    with pytest.raises(IntegrityError), transaction.atomic():
        person("Alice", email="b@example.org")
    with pytest.raises(IntegrityError), transaction.atomic():
        person("bob", email="ALICE@example.org")


@pytest.mark.parametrize("columns", [{"role": "root"}, {"digest_hour": 24}, {"digest_hour": -1}])
def test_the_database_refuses_what_can_never_be(columns: dict[str, Any]) -> None:
    from django.db import IntegrityError, transaction

    with pytest.raises(IntegrityError), transaction.atomic():
        person("alice", **columns)


def test_an_admin_is_made_by_whoever_runs_the_instance() -> None:
    from duely.accounts.queries import has_admin

    assert not has_admin()
    user = actions.create_admin(username="root", email="root@localhost.invalid", password=PASSWORD, now=clock.now())
    assert has_admin()
    assert user.role == "admin"
    assert log_of(user) == [("user.created", {"username": [None, "root"], "role": [None, "admin"]})]
    with pytest.raises(AlreadyExists):
        actions.create_admin(username="Root", email="b@example.org", password=PASSWORD, now=clock.now())
    with pytest.raises(ValidationFailed):
        actions.create_admin(username="two", email="two", password="short", now=clock.now())


def test_an_inactive_admin_is_none() -> None:
    from duely.accounts.queries import has_admin

    person("adam", role="admin", is_active=False)
    assert not has_admin()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(method: str) -> None:
    response = Api().call(method, "auth/signup/")
    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"


def test_another_fault_of_the_database_is_no_taken_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import IntegrityError

    person("alice")
    monkeypatch.setattr(queries, "taken_fields", lambda *_: [])
    with pytest.raises(IntegrityError):
        actions.create_admin(username="alice", email="b@example.org", password=PASSWORD, now=clock.now())
