"""The pipeline of every request: access log, limits of bodies, headers, and pages with their own middleware."""

import io
import logging
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from cast import V1, Api, alice
from duely.core import errors
from duely.core.actor import Origin
from duely.http.pipeline import refuse_body, request_origin

pytestmark = pytest.mark.django_db


@pytest.fixture
def access_log() -> Iterator[list[dict[str, Any]]]:
    """The lines of the access log, as they are written."""
    lines: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert isinstance(record.msg, dict)
            lines.append(record.msg)

    logger, handler = logging.getLogger("duely.request"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_each_request_is_one_line_of_the_access_log(access_log: list[dict[str, Any]]) -> None:
    me = Api(alice())
    me.post("tasks/", {"title": "Milk"}, X_Request_ID="r-1")
    Client().get("/nowhere", headers={"X-Request-ID": "r-2"})
    first, second = access_log
    shown = ("event", "method", "path", "status", "request_id", "ip", "user")
    assert {name: first[name] for name in shown} == {
        "event": "request",
        "method": "POST",
        "path": "/api/v1/tasks/",
        "status": 201,
        "request_id": "r-1",
        "ip": "127.0.0.1",
        "user": str(me.user.id),
    }
    assert first["milliseconds"] > 0
    assert (second["path"], second["status"], second["request_id"], second["user"]) == ("/nowhere", 404, "r-2", None)


def test_the_access_log_holds_neither_query_nor_token_nor_body(access_log: list[dict[str, Any]]) -> None:
    me = Api(alice())
    me.get("tasks/?tag=hidden-in-the-query")
    me.post("tasks/", {"title": "hidden-in-the-body"})
    Api(headers={"Authorization": "Bearer hidden-in-the-token"}).get("tasks/")
    assert [line["status"] for line in access_log] == [200, 201, 401]
    text = str(access_log)
    assert "hidden" not in text
    assert me.headers["Authorization"].partition(" ")[2] not in text


def test_a_refused_request_is_in_the_access_log_too(access_log: list[dict[str, Any]]) -> None:
    Client().get(f"{V1}tasks/", HTTP_HOST="evil.example")
    Client().generic("FOO", f"{V1}tasks/")
    assert [line["status"] for line in access_log] == [400, 405]


def test_the_api_needs_no_csrf_token_and_sets_no_cookie() -> None:
    client = Client(enforce_csrf_checks=True, headers=Api(alice()).headers)
    response = client.post(f"{V1}tasks/", '{"title": "Milk"}', "application/json")
    assert response.status_code == 201
    assert not client.cookies


def test_a_session_of_the_pages_is_no_sign_in_for_the_api() -> None:
    from cast import adam

    client = Client()
    client.force_login(adam())
    assert client.get("/admin/").status_code == 200
    assert client.get(f"{V1}tasks/").status_code == 401


@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked", "identity", ""])
def test_a_body_with_an_ambiguous_end_is_refused(coding: str) -> None:
    """What comes this far with a transfer coding has a length too, or a coding that nobody here undoes."""
    extra = {"HTTP_TRANSFER_ENCODING": coding}
    answer = Client().post(f"{V1}auth/login/", "{}", content_type="application/json", **extra)
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_request"
    assert "Transfer-Encoding" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/admin/login/", "/", "/healthz"])
def test_pages_are_still_served_by_their_own_middleware(path: str) -> None:
    assert Client().get(path).status_code == 200
    assert Client(enforce_csrf_checks=True).post("/admin/login/", {}).status_code == 403


@pytest.mark.parametrize("length", ["0", "7", "1048576", "0001"])
def test_a_body_of_a_mebibyte_is_let_in(length: str) -> None:
    refuse_body(length)


@pytest.mark.parametrize("length", ["1048577", "9999999", "10000000", "9" * 5000, "00000001"])
def test_a_longer_body_is_refused_by_its_length(length: str) -> None:
    with pytest.raises(errors.BodyTooLarge, match="1048576 bytes"):
        refuse_body(length)


@pytest.mark.parametrize("length", ["-1", "+1", "1.0", "0x10", "1 ", "²", "٣", "1_0", "many"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(errors.MalformedRequest):
        refuse_body(length)


def test_a_body_with_a_too_long_length_is_not_read() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("somebody read the body")

    headers = Api(alice()).headers
    for length, status in (("1048577", 413), ("many", 400)):
        extra: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": Unread()}
        answer = Client().post(f"{V1}tasks/", b"", "application/json", headers=headers, **extra)
        assert answer.status_code == status


def test_an_answer_without_content_has_no_type_or_length() -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "Milk"}).json()
    answer = me.delete(f"tasks/{task['id']}/")
    assert answer.status_code == 204
    assert not {"Content-Type", "Content-Length"} & set(answer.headers)


def test_head_gets_the_length_of_what_get_would_send() -> None:
    me = Api(alice())
    whole, head = me.get("tasks/"), me.call("HEAD", "tasks/")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head["Content-Length"]) == int(whole["Content-Length"]) == len(whole.content) > 0


@pytest.mark.parametrize("path", ["tasks/?limit=0", "nowhere/", "", "users/me/"])
def test_no_answer_of_the_api_is_kept_by_a_cache(path: str) -> None:
    assert Api(alice()).get(path)["Cache-Control"] == "no-store"


def test_an_answer_with_an_etag_is_private_and_revalidated() -> None:
    assert Api(alice()).get("tasks/")["Cache-Control"] == "private, no-cache"


def test_a_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not by Django as well, whose lines know neither address nor user."""
    logger = logging.getLogger("django.request")
    logger.addHandler(caplog.handler)
    try:
        assert Api(alice()).get("nowhere/").status_code == 404
    finally:
        logger.removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.name == "django.request"] == []


def test_only_sane_request_headers_are_recorded(rf: Any, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.0/8")]
    sent = {"X-Forwarded-For": "192.0.2.1, 203.0.113.7", "User-Agent": "x" * 300, "X-Request-ID": "r-1"}
    assert request_origin(rf.get("/", headers=sent)) == Origin("203.0.113.7", "x" * 255, "r-1")
    settings.TRUSTED_PROXIES = []
    origin = request_origin(rf.get("/", headers={**sent, "X-Request-ID": "r 1"}))
    assert (origin.ip, str(UUID(origin.request_id))) == ("127.0.0.1", origin.request_id)
    assert request_origin(rf.get("/", REMOTE_ADDR="")).ip is None
