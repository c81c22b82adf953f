"""Pages while the database is unavailable: 503 like the API, for every route and every kind of outage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.contrib import admin
from django.contrib.sessions.backends.base import UpdateError
from django.db import OperationalError, connection
from django.test import Client
from psycopg import sql
from structlog.testing import capture_logs

from cast import PASSWORD, adam, alice
from duely.api import outages
from duely.notifications import links
from duely.notifications.rules import Kind

ON_POSTGRESQL = connection.vendor == "postgresql"


@contextmanager
def read_only() -> Iterator[None]:
    """The database answers reads and refuses writes."""
    if ON_POSTGRESQL:
        with altered("SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
            yield
    else:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = on")
            yield


@contextmanager
def away() -> Iterator[None]:
    """The database refuses every connection."""
    if ON_POSTGRESQL:
        with altered("ALLOW_CONNECTIONS = false", "ALLOW_CONNECTIONS = true"):
            yield
    else:
        # SQLite has no server to stop, and an open file stays open when it is deleted.
        def unreachable(*_: Any) -> None:
            raise OperationalError("unable to open database file")

        with connection.execute_wrapper(unreachable):
            yield


@contextmanager
def altered(begin: str, end: str) -> Iterator[None]:
    """The database with an option changed, for new sessions; the old ones are ended."""
    settings = connection.get_connection_params()
    statement, database = sql.SQL("ALTER DATABASE {} {}"), sql.Identifier(settings["dbname"])
    connection.close()
    connection.close_pool()
    with psycopg.connect(host=settings["host"], user=settings["user"], dbname="postgres", autocommit=True) as outside:
        outside.execute(statement.format(database, sql.SQL(begin)))
        try:
            yield
        finally:
            outside.execute(statement.format(database, sql.SQL(end)))
            connection.close()
            connection.close_pool()


OUTAGES = {"read-only": read_only, "away": away}

Page = Callable[[Client], Any]
FORM = {"network": "203.0.113.9/32", "reason": "Guesses passwords", "hours": "1"}
WRITES: dict[str, Page] = {
    "sign-in": lambda _: browser().post("/admin/login/", {"username": "adam", "password": PASSWORD}),
    "wrong sign-in": lambda _: browser().post("/admin/login/", {"username": "adam", "password": "wrong"}),
    "sign-out": lambda client: client.post("/admin/logout/"),
    "form": lambda client: client.post("/admin/guard/ban/add/", FORM),
    "new password": lambda client: client.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": "another-horse-battery", "new_password2": "another-horse-battery"},
    ),
    "one-click unsubscribe": lambda client: client.post(unsubscribe(), {"List-Unsubscribe": "One-Click"}),
}
READS: dict[str, Page] = {
    "the admin's index": lambda client: client.get("/admin/"),
    "sign-in page": lambda client: client.get("/admin/login/"),
    "unsubscribe": lambda client: client.get(unsubscribe()),
    "unsubscribe HEAD": lambda client: client.head(unsubscribe()),
    **{
        str(model._meta.label): lambda client, path=f"/admin/{model._meta.app_label}/{model._meta.model_name}/": (
            client.get(path)
        )
        for model in admin.site._registry
    },
}
WITHOUT_DATABASE: dict[str, Page] = {
    "home": lambda client: client.get("/"),
    "link page": lambda client: client.get("/verify-email/"),
    "style": lambda client: client.get("/static/duely/page.css"),
    "no page": lambda client: client.get("/nowhere"),
}

_links: dict[str, str] = {}


def unsubscribe() -> str:
    return _links["unsubscribe"]


def browser() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def signed_in(committed_db: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(outages.outages, "_causes", {})
    monkeypatch.setattr(outages.outages, "is_any", False)
    _links["unsubscribe"] = links.path(Kind.REMINDER, alice().id)
    adam()
    client = browser()
    assert client.post("/admin/login/", {"username": "adam", "password": PASSWORD}).status_code == 302
    return client


def assert_unavailable(answer: Any) -> None:
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("outage", OUTAGES)
def test_a_page_that_writes_is_503_in_an_outage(outage: str, name: str, signed_in: Client) -> None:
    with capture_logs() as lines, OUTAGES[outage]():
        answer = WRITES[name](signed_in)

    assert_unavailable(answer)
    assert "database_unavailable" in [line["event"] for line in lines]


@pytest.mark.parametrize("name", READS)
def test_a_page_that_reads_is_503_without_a_database(name: str, signed_in: Client) -> None:
    with away():
        answer = READS[name](signed_in)

    assert_unavailable(answer)


@pytest.mark.parametrize("name", READS)
def test_a_page_that_reads_works_while_writes_fail(name: str, signed_in: Client) -> None:
    with read_only():
        answer = READS[name](signed_in)

    assert answer.status_code in {200, 302}


@pytest.mark.parametrize("name", WITHOUT_DATABASE)
def test_other_pages_work_without_a_database(name: str, signed_in: Client) -> None:
    before = WITHOUT_DATABASE[name](browser()).status_code
    with away():
        answer = WITHOUT_DATABASE[name](signed_in)

    assert answer.status_code == before


def test_pages_work_again_after_an_outage(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with read_only():
        assert_unavailable(signed_in.post("/admin/logout/"))
    if not ON_POSTGRESQL:
        connection.close()
    monkeypatch.setattr(outages, "PAUSE_SECONDS", 0.0)

    with capture_logs() as lines:
        answer = signed_in.get("/admin/")

    assert answer.status_code == 200  # the sign-out that failed has not ended the session
    assert "database_available" in [line["event"] for line in lines]


def test_a_changed_session_is_not_called_deleted_in_an_outage(signed_in: Client) -> None:
    """Django would take the error for a deleted session, and answer 400."""
    session = signed_in.session
    session["theme"] = "dark"

    with read_only(), pytest.raises(OperationalError):
        session.save()


def test_a_deleted_session_cannot_be_saved(signed_in: Client) -> None:
    session = signed_in.session
    signed_in.session.delete()

    with pytest.raises(UpdateError):
        session.save()


def test_an_error_that_is_no_outage_is_a_500(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "read", lambda _: 1 / 0)

    assert signed_in.get(unsubscribe()).status_code == 500
