"""The WSGI layers around Django: bodies without a length, and requests that Django does not see."""

import io
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import QueryDict
from hypothesis import example, given
from hypothesis import strategies as st

from cast import Api, alice
from duely.http import sockets
from duely.http.entry import Request, api_first, plain_query, with_length
from duely.http.pipeline import INCOMPLETE, MAX_BODY_BYTES

PREFLIGHT = "HTTP_ACCESS_CONTROL_REQUEST_METHOD"


class Stream(io.BytesIO):
    """A body that tells how much of it was asked for."""

    asked = 0

    def read(self, size: int | None = -1) -> bytes:
        self.asked += size or 0
        return super().read(size)


def run(environ: dict[str, Any]) -> dict[str, Any]:
    """The environ that the application behind the wrapper gets."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.update(environ)
        return [b"answer"]

    assert list(with_length(application)(environ, lambda *_: None)) == [b"answer"]
    return seen


ENVIRONS: list[dict[str, Any]] = [
    {},
    {"QUERY_STRING": "search=caf%C3%A9&search=&page=2"},
    {"REQUEST_METHOD": "post", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "4"},
    {"CONTENT_TYPE": "application/json; charset=latin-1", "CONTENT_LENGTH": "4"},
    {"CONTENT_TYPE": "application/json; charset=none-such"},
    *({"CONTENT_LENGTH": length} for length in ("", "0", "x", "-1", " 7 ", "9" * 5000)),
    *({"PATH_INFO": path} for path in ("/api", "/api//tasks/", "/api/v1/caf\xc3\xa9/", "/api/\xff/", "/api/%2F/")),
    {"SCRIPT_NAME": "/behind"},
    {"HTTP_COOKIE": "a=b; c=d"},
]


@pytest.mark.parametrize("environ", ENVIRONS)
def test_a_request_is_as_django_makes_it(environ: dict[str, Any]) -> None:
    asked = {
        "PATH_INFO": "/api/v1/tasks/",
        "REQUEST_METHOD": "GET",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost",
    }
    stream = io.BytesIO(b"body and more")
    ours = Request({**asked, "wsgi.input": stream, **environ})
    theirs = WSGIRequest({**asked, "wsgi.input": stream, **environ})
    for name in ("GET", "COOKIES", "content_params"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_full_path() == theirs.get_full_path()
    assert ours._stream._pos == theirs._stream._pos  # type: ignore[attr-defined]
    assert ours._stream.limit == theirs._stream.limit  # type: ignore[attr-defined]
    del ours._stream, theirs._stream
    assert {name: getattr(ours, name) for name in vars(theirs)} == vars(theirs)
    assert vars(ours).keys() <= vars(theirs).keys()


@pytest.mark.parametrize("length", ["", "0", "4", "13", "100", "-1"])
def test_a_body_is_read_as_django_reads_it(length: str) -> None:
    asked = {"PATH_INFO": "/api/v1/tasks/", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": length}
    ours = Request({**asked, "wsgi.input": io.BytesIO(b"body and more")})
    assert ours.body == WSGIRequest({**asked, "wsgi.input": io.BytesIO(b"body and more")}).body
    assert ours.body == ours.read()


@pytest.mark.parametrize("length", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 10**9])
def test_only_a_body_within_the_limit_is_read_without_django(length: int, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1
    asked = {"PATH_INFO": "/", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(length), "wsgi.input": io.BytesIO(b"b")}
    if length > MAX_BODY_BYTES:
        with pytest.raises(RequestDataTooBig):
            _ = Request(asked).body
    else:
        assert Request(asked).body == b"b"


@given(st.text("ab1=&&_.,:-+%2; é", max_size=40))
@example("status=pending&status=done&ordering=-due_date,id&limit=20&cursor=&due_date__gte=2026-01-31T09:30:00Z")
@example("&".join(["a=1"] * 21))
@example("a=1\n")
def test_a_query_string_is_read_as_django_reads_it(text: str) -> None:
    ours = Request({"PATH_INFO": "/", "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "QUERY_STRING": text}).GET
    theirs = QueryDict(text.encode("latin-1"))
    assert list(ours.lists()) == list(theirs.lists())
    assert vars(ours) == vars(theirs)
    with pytest.raises(AttributeError):
        ours["a"] = "b"


def test_a_plain_query_string_is_read_without_django() -> None:
    assert plain_query("status=pending,done&ordering=-due_date&limit=20&cursor=AbZ-_09") is not None
    assert plain_query("search=a+b") is None


def test_a_chunked_body_gets_a_length() -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b'{"title": "x"}')})
    assert seen["CONTENT_LENGTH"] == "14"
    assert seen["wsgi.input"].read() == b'{"title": "x"}'


def test_an_empty_chunked_body_has_length_zero() -> None:
    assert run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"")})["CONTENT_LENGTH"] == "0"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES - 1, MAX_BODY_BYTES])
def test_a_chunked_body_up_to_the_limit_is_complete(size: int) -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"x" * size)})
    assert seen["CONTENT_LENGTH"] == str(size)
    assert len(seen["wsgi.input"].read()) == size


def test_no_limit_lets_a_chunked_body_over_the_limit_through() -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))})
    assert int(seen["CONTENT_LENGTH"]) > 2**60


def test_a_chunked_body_is_bounded_where_its_socket_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "can_be_counted", lambda: False)
    stream = Stream(b"x" * (MAX_BODY_BYTES + 5000))
    seen = run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": stream})
    assert int(seen["CONTENT_LENGTH"]) > 2**60
    assert stream.asked == MAX_BODY_BYTES + 1


@pytest.mark.parametrize("body, is_incomplete", [(b"", True), (b"{}", False)])
def test_a_chunked_body_of_nothing_may_be_a_broken_one(body: bytes, is_incomplete: bool) -> None:
    assert run({"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(body)})[INCOMPLETE] is is_incomplete


def test_a_long_body_counts_the_bytes_that_were_read() -> None:
    stream = io.BytesIO(b"a line\nand more")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"]
        assert (body.readline(), body.read(3)) == (b"a line\n", b"and")
        assert body.received == 10
        return [b"answer"]

    environ = {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1), "wsgi.input": stream}
    assert with_length(application)(environ, lambda *_: None) == [b"answer"]


def test_a_body_that_has_a_length_is_not_chunked_any_more() -> None:
    seen = run({"HTTP_TRANSFER_ENCODING": " Chunked ", "wsgi.input": io.BytesIO(b"x")})
    assert seen["CONTENT_LENGTH"] == "1"
    assert "HTTP_TRANSFER_ENCODING" not in seen


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_TRANSFER_ENCODING": "gzip, chunked"},
        {"HTTP_TRANSFER_ENCODING": "identity"},
        {"CONTENT_LENGTH": "14"},
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "14"},
        {},
        {"CONTENT_LENGTH": ""},
    ],
)
def test_other_bodies_are_left_alone(headers: dict[str, str]) -> None:
    stream = Stream(b'{"title": "x"}')
    seen = run({**headers, "wsgi.input": stream})
    assert seen["wsgi.input"] is stream
    assert stream.asked == 0
    assert {name: value for name, value in seen.items() if name != "wsgi.input"} == headers


TASK = "tasks/0198c3a0-0000-7000-8000-000000000001/"
NEW = {"id": TASK[6:-1], "title": "Milk"}
ASKED: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/api/v1/tasks/", {}, b""),
    ("GET", "/api/tasks", {}, b""),
    ("HEAD", "/api/v1/tasks/", {}, b""),
    ("OPTIONS", "/api/v1/tasks/", {}, b""),
    ("GET", "/api/v1/tasks/", {"HTTP_IF_NONE_MATCH": "*"}, b""),
    ("GET", "/api/v1/tasks/", {"QUERY_STRING": "limit=0&wrong=1"}, b""),
    ("GET", f"/api/v1/{TASK}", {}, b""),
    ("GET", f"/api/v1/{TASK}", {"QUERY_STRING": "fields=id"}, b""),
    ("GET", "/api/v1/export/", {}, b""),
    ("GET", "/api/v1/docs/", {}, b""),
    ("GET", "/api/v1/openapi.json", {}, b""),
    ("GET", "/api/v1/nowhere/", {}, b""),
    ("GET", "/api", {}, b""),
    ("GET", "/api/v1/tasks/\xc3\xa9\xff", {}, b""),
    ("GET", "/api/v1/tasks/", {"HTTP_AUTHORIZATION": "Bearer wrong"}, b""),
    ("GET", "/api/v1/tasks/", {"HTTP_HOST": "elsewhere.example"}, b""),
    ("GET", "/api/v1/tasks/", {"HTTP_ORIGIN": "https://app.example"}, b""),
    ("OPTIONS", "/api/v1/tasks/", {"HTTP_ORIGIN": "https://app.example", PREFLIGHT: "PUT"}, b""),
    ("PATCH", f"/api/v1/{TASK}", {}, b'{"title": "Milk"}'),
    ("PATCH", f"/api/v1/{TASK}", {"HTTP_IF_MATCH": '"7"'}, b'{"title": "Tea"}'),
    ("POST", "/api/v1/tasks/", {}, b"{"),
    ("POST", "/api/v1/tasks/", {"CONTENT_TYPE": "text/plain"}, b"{}"),
    ("POST", "/api/v1/tasks/", {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)}, b""),
    ("POST", "/api/v1/tasks/", {"HTTP_TRANSFER_ENCODING": "gzip"}, b""),
    ("POST", "/api/v1/tasks/", {INCOMPLETE: True}, b'{"title": "Milk"}'),
    ("GET", "/api/v1/tasks/", {INCOMPLETE: True}, b"{}"),
    ("BREW", "/api/v1/tasks/", {}, b""),
    ("GET", "/healthz", {}, b""),
    ("GET", "/nowhere/", {}, b""),
]


@pytest.fixture
def me(db: None) -> Api:
    me = Api(alice())
    assert me.post("tasks/", NEW).status_code == 201
    return me


@pytest.mark.parametrize("method, path, extra, body", ASKED)
def test_the_api_answers_as_it_does_behind_django(
    me: Api, settings: Any, method: str, path: str, extra: dict[str, str], body: bytes
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    django = WSGIHandler()
    asked = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_AUTHORIZATION": me.headers["Authorization"], **extra}
    behind, before = (answer_of(application, asked, body) for application in (django, api_first(django)))
    assert before == behind


def test_only_paths_outside_of_the_api_reach_django(me: Api) -> None:
    def django(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"django"]

    application = api_first(django)
    for path, status in (("/api/v1/nowhere/", 404), ("/api/v1/tasks/", 401), ("/apis/", 200), ("/", 200)):
        found, _, content = answer_of(application, {"REQUEST_METHOD": "GET", "PATH_INFO": path}, b"")
        assert (int(found[:3]), content == b"django") == (status, status == 200)


def answer_of(
    application: Callable[..., Iterable[bytes]], asked: dict[str, Any], body: bytes
) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and content; how many requests are left is not compared, nor when a file was written."""
    environ = {
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_REQUEST_ID": "the-same",
        **asked,
    }
    told: list[Any] = []
    answer = application(environ, lambda status, headers, *_: told.extend((status, headers)))
    content = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    status, pairs = told
    headers = {name.lower(): value for name, value in pairs if name != "RateLimit"}
    assert len(headers) == len([name for name, _ in pairs if name != "RateLimit"]), pairs
    return status, headers, re.sub(rb'"exported_at": ?"[^"]*"', b"", content)
