"""What must happen before Django sees a request, and requests that it never sees."""

import io
import re
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from http import HTTPStatus
from typing import Any, cast

from django.core.handlers.wsgi import LimitedStream, WSGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.utils.datastructures import MultiValueDict

from duely.core.errors import Unavailable
from duely.database import slots
from duely.guard.rules import is_api
from duely.guard.watch import watch
from duely.http import connections, sockets
from duely.http.headers import store_of
from duely.http.pipeline import INCOMPLETE, MAX_BODY_BYTES, REFUSED, WRITING, guarded

Application = Callable[..., Iterable[bytes]]


def with_length(application: Application) -> Application:
    """Give a chunked body a length, so that it is limited and read as any other, and note when it ends early.

    The guard refuses a body over its limit by the length, also where a path takes more: those who send a large file say
    how large.
    Django itself takes a request without Content-Length for one without a body. With a length the body is not chunked
    any more (RFC 9112 section 7.1.3); where Transfer-Encoding stays, the guard refuses the request.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        coding = environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower()
        length = environ.get("CONTENT_LENGTH")
        if coding == "chunked" and not length:
            del environ["HTTP_TRANSFER_ENCODING"]
            content = read_chunked(environ["wsgi.input"])
            environ[INCOMPLETE] = not content
            environ["wsgi.input"] = io.BytesIO(content)
            environ["CONTENT_LENGTH"] = str(len(content) if len(content) <= MAX_BODY_BYTES else sys.maxsize)
        elif length and length.isdigit() and int(length) > MAX_BODY_BYTES:
            with connections.watch.long_body(environ["wsgi.input"]) as body:
                environ["wsgi.input"] = body
                return application(environ, start_response)
        return application(environ, start_response)

    return wrapped


def read_chunked(stream: Any) -> bytes:
    """A chunked body; none when it ends early or is broken.

    granian does not tell of a broken body, it only gives nothing in place of all of it. That needs `read()` without a
    size: with a size, what came before the fault looks whole. The size is watched at the socket instead, see
    `duely.http.connections`; where that cannot be, the limit goes first.
    """
    # granian hides a broken body from reads with a size (decision 0031).
    if not sockets.can_be_counted():
        return cast("bytes", stream.read(MAX_BODY_BYTES + 1))
    with connections.watch.chunked_body():
        return cast("bytes", stream.read())


def with_slot(application: Application) -> Application:
    """Let so many requests be worked on at once. A body comes in first, as slowly as its client sends it."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        # The guard refuses a longer one, or one that is no number, without reading it.
        if _LENGTH.fullmatch(length) and int(length) <= MAX_BODY_BYTES:
            content = environ["wsgi.input"].read(int(length))
            if len(content) < int(length):
                environ[INCOMPLETE] = True
            environ["wsgi.input"] = io.BytesIO(content)
        try:
            slots.enter(writes=environ["REQUEST_METHOD"] in WRITING)
        except Unavailable as refused:
            environ[REFUSED] = refused
            return application(environ, start_response)
        try:
            return application(environ, start_response)
        finally:
            slots.leave()

    return wrapped


_LENGTH = re.compile(r"[1-9][0-9]{0,6}")


class Request(WSGIRequest):
    """Django's request, as it makes one itself: where nothing needs decoding, at a tenth of the cost."""

    def __init__(self, environ: dict[str, Any]) -> None:
        path, kind = environ["PATH_INFO"], environ.get("CONTENT_TYPE", "")
        # Django decodes path and headers of every request; most need no decoding (decision 0024).
        if environ.get("SCRIPT_NAME") or not path.isascii() or kind not in UNDECORATED:
            super().__init__(environ)
        else:
            environ["SCRIPT_NAME"] = ""
            self.environ = self.META = environ
            self.path_info = self.path = path
            self.method = environ["REQUEST_METHOD"].upper()
            self.content_type = kind
        query = plain_query(environ.get("QUERY_STRING", ""))
        if query is not None:
            self.__dict__["GET"] = query  # where its cached property would keep it

    _read_started = False
    resolver_match = None

    @cached_property
    def body(self) -> bytes:
        """The body. What is longer than the guard lets through Django reads, or refuses to."""
        stream = self._stream
        if self._read_started or stream.limit > MAX_BODY_BYTES:
            return super().body
        body = stream.read()
        self._stream = io.BytesIO(body)  # type: ignore[assignment]  # whoever reads it again finds the same
        return body

    @cached_property
    def content_params(self) -> dict[str, str]:  # type: ignore[override]
        """None: see above."""
        return {}

    @cached_property
    def _stream(self) -> LimitedStream:  # type: ignore[override]
        try:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0  # and the guard refuses it
        return LimitedStream(self.environ["wsgi.input"], length)


def plain_query(text: str) -> QueryDict | None:
    """The parameters of a query string in which nothing needs decoding. None for others, and for many."""
    if not text:
        return NO_QUERY
    if not _PLAIN_QUERY.fullmatch(text):
        return None
    values: dict[str, list[str]] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        values.setdefault(name, []).append(value)
    query = QueryDict.__new__(QueryDict)  # its __init__ would parse again
    MultiValueDict.__init__(query, values)
    query.encoding, query._mutable = NO_QUERY.encoding, False
    return query


UNDECORATED = frozenset({"", "application/json"})
"""Media types without parameters."""
NO_QUERY = QueryDict()
_PLAIN = r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.,:-]*"
_PLAIN_QUERY = re.compile(rf"{_PLAIN}(?:&{_PLAIN}){{0,19}}", re.ASCII)


def api_first(application: Application) -> Application:
    """Answer the API's requests, and leave others to the application, which is Django.

    Around a request Django sends signals, walks through its middleware and closes the connection, all of which nothing
    here needs: it costs as much as reading a list of tasks. `GuardMiddleware` gives the same answers, to tests.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not is_api(environ["PATH_INFO"]):
            return application(environ, start_response)
        # Django's signals, middleware and resolver cost as much as a list of tasks (decision 0021).
        response, more = guarded(Request(environ), _no_page)
        start_response(_STATUS[response.status_code], [*store_of(response).values(), *more])
        return [response.content] if isinstance(response, HttpResponse) else response

    return wrapped


_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _no_page(request: HttpRequest) -> HttpResponseBase:
    raise ValueError(request.path_info)


def watched(application: Application) -> Application:
    """Start this process's threads with its first request: before that, it may yet fork."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        watch.begin()
        connections.watch.begin()
        return application(environ, start_response)

    return wrapped
