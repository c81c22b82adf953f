"""The WSGI layers around Django: bodies, slots, and the requests of the API, which Django does not see."""

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
from duely.http.headers import headers_of
from duely.http.pipeline import INCOMPLETE, MAX_BODY_BYTES, REFUSED, WRITING, answer_request

Application = Callable[..., Iterable[bytes]]


def with_length(application: Application) -> Application:
    """Give a chunked body a Content-Length, so that it is limited and read like any other. Note if it ends early.

    Django treats a request without Content-Length as one without a body. With a length the body is no longer chunked
    (RFC 9112 section 7.1.3), so Transfer-Encoding is removed; if it stays, the pipeline refuses the request.
    A chunked body over MAX_BODY_BYTES is refused on every path: an upload of a large file must declare its length.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        coding = environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower()
        length = environ.get("CONTENT_LENGTH")
        if coding == "chunked" and not length:
            del environ["HTTP_TRANSFER_ENCODING"]
            content = read_chunked(environ["wsgi.input"])
            environ[INCOMPLETE] = not content
            environ["wsgi.input"] = io.BytesIO(content)
            # No path accepts `sys.maxsize`.
            environ["CONTENT_LENGTH"] = str(len(content) if len(content) <= MAX_BODY_BYTES else sys.maxsize)
        elif length and length.isdigit() and int(length) > MAX_BODY_BYTES:
            with connections.watch.long_body(environ["wsgi.input"]) as body:
                environ["wsgi.input"] = body
                return application(environ, start_response)
        return application(environ, start_response)

    return wrapped


def read_chunked(stream: Any) -> bytes:
    """A chunked body. Empty if it ends early or is broken.

    For a broken body granian returns nothing, but only from `read()` without a size: with a size, the part before the
    fault looks like a complete body. So the size is limited at the socket (`duely.http.connections`). On systems
    where this is impossible, the limit is more important.
    """
    # granian hides a broken body from reads with a size (decision 0031).
    if not sockets.can_be_counted():
        return cast("bytes", stream.read(MAX_BODY_BYTES + 1))
    with connections.watch.chunked_body():
        return cast("bytes", stream.read())


def with_slot(application: Application) -> Application:
    """Run a request in a slot. Its body is read before, so that a slow client occupies no slot (decision 0013)."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        # The pipeline refuses a longer body, and a length that is not a number, without reading.
        if _LENGTH.fullmatch(length) and int(length) <= MAX_BODY_BYTES:
            content = environ["wsgi.input"].read(int(length))
            if len(content) < int(length):
                environ[INCOMPLETE] = True
            environ["wsgi.input"] = io.BytesIO(content)
        try:
            slots.enter(writes=environ["REQUEST_METHOD"] in WRITING)
        except Unavailable as refusal:
            environ[REFUSED] = refusal
            return application(environ, start_response)
        try:
            return application(environ, start_response)
        finally:
            slots.leave()

    return wrapped


_LENGTH = re.compile(r"[1-9][0-9]{0,6}")


class Request(WSGIRequest):
    """Django's request with the same attributes, at a tenth of the cost if nothing needs decoding (decision 0024)."""

    def __init__(self, environ: dict[str, Any]) -> None:
        path, content_type = environ["PATH_INFO"], environ.get("CONTENT_TYPE", "")
        # Django decodes path and headers of every request; most need no decoding (decision 0024).
        # A test compares both attribute by attribute.
        if environ.get("SCRIPT_NAME") or not path.isascii() or content_type not in TYPES_WITHOUT_PARAMETERS:
            super().__init__(environ)
        else:
            environ["SCRIPT_NAME"] = ""
            self.environ = self.META = environ
            self.path_info = self.path = path
            self.method = environ["REQUEST_METHOD"].upper()
            self.content_type = content_type
        query = plain_query(environ.get("QUERY_STRING", ""))
        if query is not None:
            self.__dict__["GET"] = query  # the value of Django's cached property

    _read_started = False
    resolver_match = None

    @cached_property
    def body(self) -> bytes:
        """The body. Django reads one over MAX_BODY_BYTES, or refuses it."""
        stream = self._stream
        if self._read_started or stream.limit > MAX_BODY_BYTES:
            return super().body
        body = stream.read()
        self._stream = io.BytesIO(body)  # type: ignore[assignment]  # so that it can be read again
        return body

    @cached_property
    def content_params(self) -> dict[str, str]:  # type: ignore[override]
        """Empty: Django parses content types with parameters, see `__init__`."""
        return {}

    @cached_property
    def _stream(self) -> LimitedStream:  # type: ignore[override]
        try:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0  # the pipeline refuses the request
        return LimitedStream(self.environ["wsgi.input"], length)


def plain_query(text: str) -> QueryDict | None:
    """The parameters of a query string without encoded characters. None for others, and for more than 20 parameters.

    Takes 2 instead of 10 to 17 microseconds (decision 0024).
    """
    if not text:
        return NO_QUERY
    if not _PLAIN_QUERY.fullmatch(text):
        return None
    values: dict[str, list[str]] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        values.setdefault(name, []).append(value)
    query = QueryDict.__new__(QueryDict)  # QueryDict.__init__ would parse the text again
    MultiValueDict.__init__(query, values)
    query.encoding, query._mutable = NO_QUERY.encoding, False
    return query


TYPES_WITHOUT_PARAMETERS = frozenset({"", "application/json"})
"""Content types that need no parsing."""
NO_QUERY = QueryDict()
_PLAIN_PARAMETER = r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.,:-]*"
_PLAIN_QUERY = re.compile(rf"{_PLAIN_PARAMETER}(?:&{_PLAIN_PARAMETER}){{0,19}}", re.ASCII)


def api_first(application: Application) -> Application:
    """Answer the requests of the API, and pass all others to the application, which is Django.

    `GuardMiddleware` answers the same within Django, for tests. A test compares both byte by byte.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not is_api(environ["PATH_INFO"]):
            return application(environ, start_response)
        # Django's signals, middleware and resolver cost as much as a list of tasks (decision 0021).
        response, more_headers = answer_request(Request(environ), _no_page)
        start_response(_STATUS[response.status_code], [*headers_of(response).values(), *more_headers])
        return [response.content] if isinstance(response, HttpResponse) else response

    return wrapped


_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _no_page(request: HttpRequest) -> HttpResponseBase:
    raise ValueError(request.path_info)


def watched(application: Application) -> Application:
    """Start the threads of this process with its first request. Before that it may fork, and threads do not survive."""

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        watch.begin()
        connections.watch.begin()
        return application(environ, start_response)

    return wrapped
