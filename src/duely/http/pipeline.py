"""Answers every request: request id, client address, bans, body limits, headers, access log; and routes the API."""

import logging
import sys
import time
from collections.abc import Callable
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any, cast

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from django.views.defaults import server_error

from duely.api.outages import outages
from duely.api.problems import problem, refusal
from duely.api.routes import resolve_path
from duely.core import clock, drain, errors
from duely.core.actor import Actor, Origin
from duely.core.ids import new_id
from duely.core.settings import setting
from duely.guard import bans, limits, rules, space
from duely.guard.rules import LimitStatus, Scope
from duely.http import headers

MAX_BODY_BYTES = 1024 * 1024
INCOMPLETE = "duely.incomplete"
"""Key in the environ of a request: whether its body ended early. Set by the layer that reads the body."""
REFUSED = "duely.refused"
"""Key in the environ of a request: an error that an earlier layer has decided to answer with."""
WRITING = rules.CHANGING
BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
NO_STORE = ("Cache-Control", "no-store")
CLOSE = ("Connection", "close")

log = logging.getLogger("duely.request")
Handler = Callable[[HttpRequest], HttpResponseBase]


class GuardMiddleware:
    """The outermost Django middleware. It answers `/api/` itself.

    Other paths go on to `pages`: the middleware of the admin's pages (sessions, CSRF, messages) and the views.
    """

    def __init__(self, pages: Handler) -> None:
        self.pages = pages

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response, more_headers = answer_request(request, self.pages)
        for name, value in more_headers:
            response.headers[name] = value
        return response


def answer_request(request: HttpRequest, pages: Handler) -> tuple[HttpResponseBase, list[headers.Header]]:
    """The answer to a request, and the headers to add to it. `pages` answers the paths outside of the API."""
    started = time.perf_counter()
    origin = request_origin(request)
    request.origin = origin  # type: ignore[attr-defined]
    banned = bans.refusal(origin.ip)
    if banned is not None and not _may_pass(request, banned):
        response = refusal_response(request, banned)
    else:
        # A caller who passes a ban with a token is still refused by operations that do not check the token.
        request.banned = banned  # type: ignore[attr-defined]
        response = answer_api(request) if rules.is_api(request.path_info) else answer_page(request, pages)
    more_headers = headers.missing(request, response)
    limit_status: LimitStatus | None = getattr(request, "limit_status", None)
    if banned is None and looks_like_attack(request, limit_status):
        bans.count_refusal(origin)
    if limit_status is not None:
        more_headers += limit_status.headers()
    more_headers.append(("X-Request-ID", origin.request_id))
    # Clients move to another server before this one stops accepting (decision 0032).
    if drain.stage():
        more_headers.append(CLOSE)
    _log(request, response, origin, started)
    return response, more_headers


def refusal_response(request: HttpRequest, refused: errors.Refused) -> HttpResponseBase:
    """The answer that refuses a request: a problem document in the API, a line of text elsewhere."""
    if rules.is_api(request.path_info):
        return with_common_headers(problem(refused, request), request)
    text = f"{refused.title} {refused.detail}\n"
    return HttpResponse(
        text,
        status=refused.status,
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store", **refused.headers},
    )


def answer_page(request: HttpRequest, pages: Handler) -> HttpResponseBase:
    """The answer of a path outside of the API."""
    try:
        raise_earlier_refusal(request)
        refuse_incomplete(request)
        refuse_body(request.META.get("CONTENT_LENGTH") or "0")
    except errors.Refused as refused:
        return refusal_response(request, refused)
    response = pages(request)
    if outages.is_any and response.status_code < HTTPStatus.BAD_REQUEST and _user_id(request) is not None:
        outages.note_served()
    return response


def page_error(request: HttpRequest) -> HttpResponseBase:
    """The answer of a page that raised an exception: 503 if the database is unavailable, otherwise 500.

    Django calls this `handler500` while it handles the exception. It does so for views and for each middleware, such
    as the one that saves sessions, so no other place sees all of them.
    """
    fault = sys.exception()
    if not isinstance(fault, errors.Refused | OperationalError | InterfaceError):
        return server_error(request)
    response = refusal_response(request, refusal(fault, request))
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log a traceback for each request
    if (session := getattr(request, "session", None)) is not None:
        session.modified = False  # as after a 500: an action that failed must not change the session
    return response


def _may_pass(request: HttpRequest, banned: errors.AddressBanned) -> bool:
    """Whether a token lets this caller pass the ban (decision 0029).

    Does not query the database, so that a banned client causes no load.
    """
    return banned.is_automatic and rules.is_api(request.path_info) and _shows_token()(request)


@cache
def _shows_token() -> Callable[[HttpRequest], bool]:
    return cast("Callable[[HttpRequest], bool]", import_string(setting("SHOWS_TOKEN")))


def looks_like_attack(request: HttpRequest, limit_status: LimitStatus | None) -> bool:
    """Whether the request was a guess of a token, a password or a code, or exceeded the limit of such guesses.

    A call without a token, with an expired token or beyond another limit is a client's mistake. It must not lead to a
    ban, because many people may share the address (decision 0029). Only a readable body counts towards the limit of
    guesses (`duely.api.resource`), so a request beyond that limit contained a guess.
    """
    if limit_status is not None and not limit_status.is_allowed and limit_status.scope is Scope.LOGIN:
        return True
    return getattr(request, "looks_like_attack", False)


def answer_api(request: HttpRequest) -> HttpResponseBase:
    """Run the endpoint of an API path. Every exception becomes a problem document."""
    try:
        refuse_host(request)
        preflight = headers.preflight(request)
        if preflight is not None:
            return preflight
        refuse_cross_site(request)
        refuse_framing(request)
        raise_earlier_refusal(request)
        refuse_incomplete(request)
        path = rules.api_path(request.path_info)
        refuse_body(request.META.get("CONTENT_LENGTH") or "0", setting("LARGE_BODIES").get(path, MAX_BODY_BYTES))
        space.refuse_when_full(request.method, path)
        view, kwargs = resolve_path(path)
        response: HttpResponseBase = view(request, **kwargs)
        if outages.is_any and getattr(request, "actor", None) is not None:
            outages.note_served()
    except Exception as fault:  # noqa: BLE001 - the only handler of the API: a caller always gets a problem document
        refused = refusal(fault, request)
        if refused.looks_like_attack:
            request.looks_like_attack = True  # type: ignore[attr-defined]  # counted in `answer_request`
        response = problem(refused, request)
    return with_common_headers(response, request)


def with_common_headers(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    """The answer with the headers of all answers of the API, and without content for HEAD."""
    present = headers.headers_of(response)
    present.setdefault("cache-control", NO_STORE)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log each 4xx a second time
    if response.status_code in BODILESS:
        present.pop("content-type", None)
    elif isinstance(response, HttpResponse):
        present["content-length"] = ("Content-Length", str(len(response.content)))
        if request.method == "HEAD":
            response.content = b""
    elif isinstance(response, StreamingHttpResponse) and request.method == "HEAD":
        response.streaming_content = ()
    return response


def refuse_host(request: HttpRequest) -> None:
    """Refuse a Host that ALLOWED_HOSTS does not contain. Raises DisallowedHost."""
    if not rules.is_host(request.META.get("HTTP_HOST", ""), tuple(setting("ALLOWED_HOSTS"))):
        request.get_host()


def refuse_cross_site(request: HttpRequest) -> None:
    """Refuse requests that a browser sends for a page of another site (decision 0041). Raises CrossSiteRequest.

    This happens before any limit counts the request. Otherwise such a page could exhaust the limits of every visitor,
    and get their address banned.
    """
    environ = request.META
    origin = environ.get("HTTP_ORIGIN")
    if origin is None and "HTTP_SEC_FETCH_SITE" not in environ:
        return
    if rules.is_cross_site(
        request.method or "",
        fetch=limits.fetch_metadata(request),
        origin=origin,
        host=environ.get("HTTP_HOST", ""),
        allowed=(setting("PUBLIC_URL"), *setting("CORS_ALLOWED_ORIGINS")),
    ):
        raise errors.CrossSiteRequest


def refuse_framing(request: HttpRequest) -> None:
    """Refuse a body whose transfer coding is not just `chunked`: a proxy may see another end (RFC 9112 section 6.1).

    A chunked body with a Content-Length is read as chunked: the server removes the length before the application sees
    it, and closes the connection after the answer (section 6.3). So no bytes behind the body are read as a request.
    """
    if "HTTP_TRANSFER_ENCODING" in request.META:
        raise errors.MalformedRequest("Send a body with Content-Length, or with Transfer-Encoding: chunked alone.")


def raise_earlier_refusal(request: HttpRequest) -> None:
    """Raise the error that an earlier layer has decided to answer with."""
    refused: errors.Refused | None = request.META.get(REFUSED)
    if refused is not None:
        raise refused


def refuse_incomplete(request: HttpRequest) -> None:
    """Refuse a body that ended early or may have: the received part is not the request (RFC 9112 section 8)."""
    if request.META.get(INCOMPLETE) and request.method in WRITING:
        raise errors.MalformedRequest(
            "The body ended early: it is shorter than its Content-Length, or its last chunk is missing. Send the "
            "complete body; for an empty body send Content-Length: 0."
        )


def refuse_body(length: str, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse a body that is too long by its Content-Length, before a byte is read."""
    if not (length.isascii() and length.isdigit()):
        raise errors.MalformedRequest("Content-Length is not a number.")
    if len(length) > len(str(limit)) or int(length) > limit:
        unless = "" if limit == MAX_BODY_BYTES else f", and needs its Content-Length from {MAX_BODY_BYTES} bytes on"
        raise errors.BodyTooLarge(f"A body may have {limit} bytes at most{unless}.")


def request_origin(request: HttpRequest) -> Origin:
    """The origin of a request. The client's own request id is used if it is a sane one."""
    environ, trusted = request.META, setting("TRUSTED_PROXIES")
    request_id = environ.get("HTTP_X_REQUEST_ID", "")
    return Origin(
        ip=rules.client_ip(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), trusted),
        user_agent=rules.printable(environ.get("HTTP_USER_AGENT", ""), 255),
        request_id=request_id if rules.sane_request_id(request_id) else str(new_id()),
    )


def _user_id(request: HttpRequest) -> str | None:
    """The user for the access log: the API's caller, or the user of the admin's pages if a view has loaded it."""
    actor: Actor | None = getattr(request, "actor", None)
    user = vars(request).get("user")
    if type(user) is SimpleLazyObject:  # any access to it would query the database
        user = getattr(request, "_cached_user", None)
    caller: Any = actor or user
    return str(caller.id) if caller is not None and caller.id else None


def _log(request: HttpRequest, response: HttpResponseBase, origin: Origin, started: float) -> None:
    """Write one line for each request, in the same form as structlog's loggers.

    Bypasses structlog's processors: 15 instead of 45 microseconds (decision 0021).
    """
    if not log.isEnabledFor(logging.INFO):
        return
    now = clock.now()
    event = {
        "event": "request",
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "milliseconds": round((time.perf_counter() - started) * 1000, 1),
        "request_id": origin.request_id,
        "ip": origin.ip,
        "user": _user_id(request),
        "level": "info",
        "logger": log.name,
        "timestamp": clock.rfc3339(now),
    }
    record = logging.LogRecord.__new__(logging.LogRecord)
    vars(record).update(_record_fields(), msg=event, created=now.timestamp())
    log.handle(record)


@lru_cache(maxsize=1)
def _record_fields() -> dict[str, Any]:
    """The fields that all these log records share. `makeRecord` for each request would take as long as writing it."""
    # The extra fields tell the formatter that a record holds a dictionary.
    return vars(log.makeRecord(log.name, logging.INFO, "", 0, "", (), None, extra={"_logger": log, "_name": "info"}))
