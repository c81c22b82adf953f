"""What the log says while the database does not serve requests."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from structlog.testing import capture_logs

from cast import Api, alice
from duely.api import outages as module
from duely.api.outages import Outages, outages


def fault(text: str, cause: type[Exception] = psycopg.OperationalError) -> OperationalError:
    error = OperationalError(text)
    error.__cause__ = cause(text)
    return error


def test_many_refusals_of_one_cause_are_one_line() -> None:
    log = Outages()

    with capture_logs() as lines:
        for number in range(100):
            log.note_refused(fault("connection refused"), f"request-{number}")

    [line] = lines
    assert line["event"] == "database_unavailable"
    assert (line["error"], line["refused"], line["request_id"]) == ("connection refused", 1, "request-0")


def test_the_next_line_counts_the_requests_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Outages()
    for _ in range(100):
        log.note_refused(fault("connection refused"), "")
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)

    with capture_logs() as lines:
        log.note_refused(fault("connection refused"), "")

    assert [line["refused"] for line in lines] == [100]


def test_the_first_refusal_of_each_cause_is_logged() -> None:
    log = Outages()
    causes = [psycopg.OperationalError, psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled]

    with capture_logs() as lines:
        for cause in causes * 3:
            log.note_refused(fault(cause.__name__, cause), "")

    assert [line["error"] for line in lines] == [cause.__name__ for cause in causes]


def test_the_end_is_logged_once_with_the_refusals_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Outages()
    for _ in range(5):
        log.note_refused(fault("connection refused"), "")

    with capture_logs() as lines:
        log.note_served()  # others may still be refused
        assert lines == []
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
        log.note_served()
        log.note_served()

    assert [(line["event"], line["refused"]) for line in lines] == [("database_available", 4)]


@pytest.mark.django_db
def test_requests_tell_of_an_outage_and_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    monkeypatch.setattr(module.outages, "_causes", {})
    monkeypatch.setattr(module.outages, "is_any", False)

    def unreachable(*_: Any) -> None:
        raise OperationalError("the database does not answer")

    with capture_logs() as lines:
        with connection.execute_wrapper(unreachable):
            statuses = [me.get("tasks/").status_code for _ in range(20)]
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
        assert me.get("tasks/").status_code == 200

    assert statuses == [503] * 20
    events = [(line["event"], line["refused"]) for line in lines if line["event"].startswith("database_")]
    assert events == [("database_unavailable", 1), ("database_available", 19)]
    assert not outages.is_any
