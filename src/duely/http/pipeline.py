"""The outermost middleware: request id, address, bans, body limit, paths of the API, the access log."""

import logging
import time
from collections.abc import Callable
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from duely.api.outages import outages
from duely.api.problems import problem, refusal
from duely.api.routes import resolved
from duely.core import clock, errors
from duely.core.actor import Actor, Origin
from duely.core.ids import new_id
from duely.core.settings import setting
from duely.guard import bans, rules, space
from duely.guard.rules import LimitStatus, Scope
from duely.http import drain, headers

MAX_BODY_BYTES = 1024 * 1024
INCOMPLETE = "duely.incomplete"
"""In the environ of a request: whether its body ended early. Who reads the body from the connection notes it there."""
REFUSED = "duely.refused"
"""In the environ of a request: the refusal that it gets, whatever it asks for, of whoever let it in."""
WRITING = rules.CHANGING
BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
NO_STORE = ("Cache-Control", "no-store")
CLOSE = ("Connection", "close")

log = logging.getLogger("duely.request")
Handler = Callable[[HttpRequest], HttpResponseBase]


class GuardMiddleware:
    """Stands before everything else, and answers `/api/` itself.

    The middleware of the admin's pages (sessions, CSRF, messages) has no business with the API:
    `pages` is what comes behind it, for all other paths.
    """

    def __init__(self, pages: Handler) -> None:
        self.pages = pages

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response, more = guarded(request, self.pages)
        for name, value in more:
            response.headers[name] = value
        return response


def guarded(request: HttpRequest, pages: Handler) -> tuple[HttpResponseBase, list[headers.Header]]:
    """The answer to any request, and headers that are yet to be put on it. `pages` answers what is not the API's."""
    started = time.perf_counter()
    origin = request_origin(request)
    request.origin = origin  # type: ignore[attr-defined]
    banned = bans.refusal(origin.ip)
    if banned is not None and not _may_pass(request, banned):
        response = turn_away(request, banned)
    else:
        # Whoever passes by a token is still turned away from what does not check that token.
        request.banned = banned  # type: ignore[attr-defined]
        response = answer_api(request) if rules.is_api(request.path_info) else answer_page(request, pages)
    more = headers.missing(request, response)
    limit_status: LimitStatus | None = getattr(request, "limit_status", None)
    if banned is None and looks_like_attack(request, limit_status):
        bans.count_refusal(origin)
    if limit_status is not None:
        more += limit_status.headers()
    more.append(("X-Request-ID", origin.request_id))
    # Clients move to another server before this one stops accepting (decision 0032).
    if drain.stage():
        # The server ends soon: the client makes its next connection to another one, or to the next.
        more.append(CLOSE)
    _log(request, response, origin, started)
    return response, more


def turn_away(request: HttpRequest, refused: errors.Refused) -> HttpResponseBase:
    """The answer that refuses any request: a problem document from the API, a line of text from anything else."""
    if rules.is_api(request.path_info):
        return finished(problem(refused, request), request)
    text = f"{refused.title} {refused.detail}\n"
    return HttpResponse(
        text,
        status=refused.status,
        content_type="text/plain; charset=utf-8",
        headers={"Cache-Control": "no-store", **refused.headers},
    )


def answer_page(request: HttpRequest, pages: Handler) -> HttpResponseBase:
    """The answer of a path that is not the API's. No form of a page is as long as a body may be."""
    try:
        refuse_at_once(request)
        refuse_incomplete(request)
        refuse_body(request.META.get("CONTENT_LENGTH") or "0")
    except errors.Refused as refused:
        return turn_away(request, refused)
    return pages(request)


def _may_pass(request: HttpRequest, banned: errors.AddressBanned) -> bool:
    """Whether a caller gets past a ban by a token. Asks no database: a banned stranger costs no query."""
    return banned.is_automatic and rules.is_api(request.path_info) and _shows_token()(request)


@cache
def _shows_token() -> Callable[[HttpRequest], bool]:
    return cast("Callable[[HttpRequest], bool]", import_string(setting("SHOWS_TOKEN")))


def looks_like_attack(request: HttpRequest, limit_status: LimitStatus | None) -> bool:
    """Whether this was a guess at a token, a password or a code, or a try beyond the limit of such guesses.

    A call without a token, with an expired one or beyond another limit is a mistake of a client: it bans nobody, since
    many people may share its address (decision 0029). Only a body that can be read counts towards the limit of guesses
    (`duely.api.resource`), so a request beyond it held a guess.
    """
    if limit_status is not None and not limit_status.is_allowed and limit_status.scope is Scope.LOGIN:
        return True
    return getattr(request, "looks_like_attack", False)


def answer_api(request: HttpRequest) -> HttpResponseBase:
    """Run the endpoint of an API path; any exception becomes a problem document."""
    try:
        refuse_host(request)
        if (preflight := headers.preflight(request)) is not None:
            return preflight
        refuse_cross_site(request)
        refuse_framing(request)
        refuse_at_once(request)
        refuse_incomplete(request)
        path = rules.api_path(request.path_info)
        refuse_body(request.META.get("CONTENT_LENGTH") or "0", setting("LARGE_BODIES").get(path, MAX_BODY_BYTES))
        space.refuse_when_full(request.method, path)
        view, kwargs = resolved(path)
        response: HttpResponseBase = view(request, **kwargs)
        if outages.is_any and getattr(request, "actor", None) is not None:
            outages.note_served()
    except Exception as fault:  # noqa: BLE001 - the one handler of the API: whatever happens, a problem document
        refused = refusal(fault, request)
        if refused.looks_like_attack:
            request.looks_like_attack = True  # type: ignore[attr-defined]  # counted in `guarded`
        response = problem(refused, request)
    return finished(response, request)


def finished(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    """What all answers of the API have in common."""
    store = headers.store_of(response)
    store.setdefault("cache-control", NO_STORE)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log each 4xx once more
    if response.status_code in BODILESS:
        store.pop("content-type", None)
    elif isinstance(response, HttpResponse):
        store["content-length"] = ("Content-Length", str(len(response.content)))
        if request.method == "HEAD":
            response.content = b""
    elif isinstance(response, StreamingHttpResponse) and request.method == "HEAD":
        response.streaming_content = ()
    return response


def refuse_host(request: HttpRequest) -> None:
    """Refuse a Host that is not of ALLOWED_HOSTS. Raises DisallowedHost."""
    if not rules.is_host(request.META.get("HTTP_HOST", ""), tuple(setting("ALLOWED_HOSTS"))):
        request.get_host()


def refuse_cross_site(request: HttpRequest) -> None:
    """Refuse what a browser sends for a page of another site, before any limit counts it. Raises CrossSiteRequest.

    Such a page could otherwise spend the limits of everyone who opens it, and get their address banned.
    """
    sent = request.META
    site, origin = sent.get("HTTP_SEC_FETCH_SITE"), sent.get("HTTP_ORIGIN")
    if site is None and origin is None:
        return
    if rules.is_cross_site(
        request.method or "",
        site=site,
        mode=sent.get("HTTP_SEC_FETCH_MODE"),
        origin=origin,
        host=sent.get("HTTP_HOST", ""),
        allowed=(setting("PUBLIC_URL"), *setting("CORS_ALLOWED_ORIGINS")),
    ):
        raise errors.CrossSiteRequest


def refuse_framing(request: HttpRequest) -> None:
    """Refuse a body in a transfer coding other than chunked alone: a proxy may see another end (RFC 9112 section 6.1).

    A chunked body with a Content-Length is read as chunked: the server drops the length before the application sees
    it, and closes the connection after the answer (section 6.3). So nothing behind the body is taken for a request.
    """
    if "HTTP_TRANSFER_ENCODING" in request.META:
        raise errors.MalformedRequest("Send a body with Content-Length, or with Transfer-Encoding: chunked alone.")


def refuse_at_once(request: HttpRequest) -> None:
    """Refuse what was refused before it got here."""
    refused: errors.Refused | None = request.META.get(REFUSED)
    if refused is not None:
        raise refused


def refuse_incomplete(request: HttpRequest) -> None:
    """Refuse a body that ended early, or may have: whatever came of it is not the request (RFC 9112 section 8)."""
    if request.META.get(INCOMPLETE) and request.method in WRITING:
        raise errors.MalformedRequest(
            "The body ended early: it is shorter than its Content-Length, or its last chunk is missing. Send the "
            "complete body; for an empty body send Content-Length: 0."
        )


def refuse_body(length: str, most: int = MAX_BODY_BYTES) -> None:
    """Refuse a body by its Content-Length, before a byte of it is read."""
    if not (length.isascii() and length.isdigit()):
        raise errors.MalformedRequest("Content-Length is not a number.")
    if len(length) > len(str(most)) or int(length) > most:
        unless = "" if most == MAX_BODY_BYTES else f", and needs its Content-Length from {MAX_BODY_BYTES} bytes on"
        raise errors.BodyTooLarge(f"A body may have {most} bytes at most{unless}.")


def request_origin(request: HttpRequest) -> Origin:
    """Where the request came from. The caller's own request id is kept when it is a sane one."""
    sent, trusted = request.META, setting("TRUSTED_PROXIES")
    request_id = sent.get("HTTP_X_REQUEST_ID", "")
    return Origin(
        ip=rules.client_ip(sent.get("REMOTE_ADDR", ""), sent.get("HTTP_X_FORWARDED_FOR", ""), trusted),
        user_agent=rules.printable(sent.get("HTTP_USER_AGENT", ""), 255),
        request_id=request_id if rules.sane_request_id(request_id) else str(new_id()),
    )


def _user_id(request: HttpRequest) -> str | None:
    """Whom the log names: the caller of the API, or the user of the admin's pages if anything has asked for them."""
    actor: Actor | None = getattr(request, "actor", None)
    user = vars(request).get("user")
    if type(user) is SimpleLazyObject:  # to look into it would ask the database
        user = getattr(request, "_cached_user", None)
    who: Any = actor or user
    return str(who.id) if who is not None and who.id else None


def _log(request: HttpRequest, response: HttpResponseBase, origin: Origin, started: float) -> None:
    """One line for each request. As structlog's loggers have it done, without the way through them."""
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
    vars(record).update(_alike(), msg=event, created=now.timestamp())
    log.handle(record)


@lru_cache(maxsize=1)
def _alike() -> dict[str, Any]:
    """What these records have in common: to make a new one takes as long as to write it."""
    # The extra fields tell the formatter that a record holds a dictionary.
    return vars(log.makeRecord(log.name, logging.INFO, "", 0, "", (), None, extra={"_logger": log, "_name": "info"}))
