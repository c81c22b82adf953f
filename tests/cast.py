"""The people of the tests, and how they call the API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.test import Client

PASSWORD = "correct-horse-battery-staple"
V1 = "/api/v1/"


def alice() -> Any:
    """Owns most things."""
    return person("alice")


def bob() -> Any:
    """Another member."""
    return person("bob")


def iris() -> Any:
    """An intern."""
    return person("iris", role="intern")


def adam() -> Any:
    """The admin."""
    return person("adam", role="admin")


def mallory() -> Any:
    """A stranger: has an account and no business with anything of the others."""
    return person("mallory")


def reader(name: str, **columns: Any) -> Any:
    """Someone who has verified their address: the only ones who get mail."""
    return person(name, email_verified=True, **columns)


def person(name: str, *, role: str = "member", **columns: Any) -> Any:
    """A user with PASSWORD. Nothing of it is in the change log."""
    from duely.accounts.models import User
    from duely.accounts.rules import fold
    from duely.core.clock import now
    from duely.core.ids import new_id

    email = columns.pop("email", f"{name}@example.org")
    return User.objects.create(
        id=new_id(),
        username=name,
        username_key=fold(name),
        email=email,
        email_key=fold(email),
        password=columns.pop("password", None) or hashed_password(),
        role=role,
        created_at=columns.pop("created_at", now()),
        **columns,
    )


@lru_cache(maxsize=1)
def hashed_password() -> str:
    """PASSWORD as it is stored; hashed once, because that is slow on purpose."""
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)


def session_of(user: Any, *, at: datetime | None = None) -> Any:
    """A new session of this user. Nothing of it is in the change log."""
    from duely.accounts.models import Session
    from duely.core.clock import now
    from duely.core.ids import new_id

    at = at or now()
    return Session.objects.create(
        id=new_id(), user=user, created_at=at, last_used_at=at, expires_at=at + timedelta(days=7), user_agent="tests"
    )


def bearer(user: Any) -> dict[str, str]:
    """Signs the user in; returns the header that says so."""
    from duely.accounts.tokens import mint_access
    from duely.core.clock import now

    return {"Authorization": f"Bearer {mint_access(user.id, session_of(user).id, now())}"}


@dataclass
class Api:
    """Calls the API as one person, or as nobody: `Api(alice()).post("tasks/", {"title": "Milk"})`."""

    user: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.user is not None:
            self.headers = {**bearer(self.user), **self.headers}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request. path: below /api/v1/, or whole. body: JSON values, or bytes as they are."""
        content = body if isinstance(body, bytes | str) else b"" if body is None else json.dumps(body)
        return Client().generic(
            method,
            path if path.startswith("/") else V1 + path,
            content,
            content_type="application/json",
            headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}},
        )

    def get(self, path: str, **headers: str) -> Any:
        """GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """POST."""
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        """PUT."""
        return self.call("PUT", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        """PATCH."""
        return self.call("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        """DELETE."""
        return self.call("DELETE", path, **headers)


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that is rolled back at its end. For what runs in it, it is as if there were none, as in a TestCase."""
    from django.db import transaction

    block = transaction.atomic()
    block._from_testcase = True
    with block:
        yield
        transaction.set_rollback(True)


@contextmanager
def for_a_module(blocker: Any) -> Iterator[None]:
    """A transaction around all tests of a module: what is made in it once is there for each, which undoes what it does."""
    from django.db import connection

    with blocker.unblock(), undone():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0")
        yield


def faults(response: Any) -> dict[str, str]:
    """{field: code} of a problem document."""
    return {error["field"]: error["code"] for error in response.json()["errors"]}


def log_of(user: Any) -> list[tuple[str, dict[str, Any]]]:
    """(action, changes) of every entry in this user's log, oldest first."""
    from duely.activity.models import Change

    entries = Change.objects.filter(owner_id=user.id).order_by("seq")
    return list(entries.values_list("action", "changes"))


def refresh_token_of(session: Any) -> str:
    """A refresh token that this session has just been given."""
    from duely.accounts import tokens
    from duely.accounts.models import RefreshToken
    from duely.core.clock import now
    from duely.core.ids import new_id

    token = tokens.new_refresh()
    RefreshToken.objects.create(
        id=new_id(),
        session=session,
        token_hash=tokens.digest(token),
        created_at=now(),
        expires_at=now() + tokens.refresh_lifetime(),
    )
    return token


def code_for(email: str, purpose: str = "sign_in") -> str:
    """The code that this address was sent last, as its mail will say."""
    from duely.accounts import codes
    from duely.accounts.models import Code
    from duely.accounts.rules import Purpose, email_key

    rows = Code.objects.filter(email_key=email_key(email), purpose=purpose, user=None, ended_at=None)
    return codes.text(Purpose(purpose), rows.get(replaced_at=None))


def new_code(email: str, purpose: str = "sign_in") -> str:
    """A code that this address has just been sent. Nothing of it is in the change log."""
    from duely.accounts import steps
    from duely.accounts.rules import Purpose
    from duely.core.clock import now

    steps.new_code(Purpose(purpose), email, now()).save()
    return code_for(email, purpose)


def new_token(user: Any, purpose: str, email: str | None = None) -> str:
    """A token that this user has just been given. Nothing of it is in the change log."""
    from duely.accounts import codes, steps
    from duely.accounts.rules import Purpose
    from duely.core.clock import now

    return codes.token(Purpose(purpose), steps.new_token(user, Purpose(purpose), now(), email).id)
