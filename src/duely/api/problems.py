"""Problem documents (RFC 9457): the form of every error under /api/."""

import sqlite3
from typing import Any

import msgspec
import structlog
from django.core.exceptions import BadRequest, DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse

from duely.api.answers import Answer
from duely.api.outages import outages
from duely.core import errors
from duely.core.actor import Origin
from duely.core.errors import Refused

CONTENT_TYPE = "application/problem+json"
TYPE_BASE = "https://duely.dev/problems/"

log = structlog.get_logger("duely.api")


class FieldProblem(msgspec.Struct, frozen=True):
    """One error in one field or parameter."""

    field: str
    code: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """An error as a problem document (RFC 9457). `code` is stable: programs may rely on it.

    `current` is the current object, when a write was refused because the object has changed. `results` are the results
    of the operations of a refused bulk request. `quota` and `limit` are the name and value of a quota that was reached.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem] = []
    current: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    results: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    quota: str | msgspec.UnsetType = msgspec.UNSET
    limit: int | msgspec.UnsetType = msgspec.UNSET


def problem(refused: Refused, request: HttpRequest) -> HttpResponse:
    """The answer for this refusal."""
    return Answer(
        msgspec.json.encode(problem_of(refused, request)),
        status=refused.status,
        content_type=CONTENT_TYPE,
        headers=refused.headers,
    )


def problem_of(refused: Refused, request: HttpRequest) -> dict[str, Any]:
    """The problem document for this refusal."""
    document: dict[str, Any] = {
        "type": TYPE_BASE + refused.code,
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
        "instance": f"{printable(request.path)}#{_request_id(request)}",
        "code": refused.code,
        **refused.extra,
    }
    if refused.errors:
        document["errors"] = [
            {"field": printable(error.field), "code": error.code, "message": printable(error.message)}
            for error in refused.errors
        ]
    return document


def _request_id(request: HttpRequest) -> str:
    origin: Origin | None = getattr(request, "origin", None)
    return origin.request_id if origin else ""


def printable(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be encoded as UTF-8."""
    return text.encode("utf-8", "replace").decode()


DISK_FULL = "The disk of the database is full: nothing was saved. Tell whoever runs this server."


def is_of_a_full_disk(fault: Exception) -> bool:
    """Whether a database could not write because its disk is full."""
    cause = fault.__cause__
    sqlite_code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    return sqlite_code == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == "53100"


def refusal(fault: Exception, request: HttpRequest) -> Refused:
    """The refusal for any exception. An unexpected one is logged and becomes a 500."""
    request_id = _request_id(request)
    match fault:
        case Refused():
            return fault
        case OperationalError() | InterfaceError():
            # 503 instead of 500, because a retry may succeed.
            outages.note_refused(fault, request_id)
            return errors.Unavailable(DISK_FULL) if is_of_a_full_disk(fault) else errors.Unavailable()
        case Http404():
            return errors.NotFound()
        case RequestDataTooBig():
            # Django raises this for a body over DATA_UPLOAD_MAX_MEMORY_SIZE.
            return errors.BodyTooLarge()
        case DisallowedHost():
            return errors.MalformedRequest("The Host header names a host that this server does not answer for.")
        case BadRequest() | SuspiciousOperation():
            return errors.MalformedRequest()
        case _:
            log.error("unhandled_exception", exc_info=fault, request_id=request_id)
            return errors.InternalError("The fault is logged under the request id in `instance`.")
