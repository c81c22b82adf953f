"""Refusals: the exceptions for every request that Duely refuses.

A subclass is defined beside the action that raises it; those here are shared by several modules. `duely.api.problems`
turns each of them into a problem document (RFC 9457).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from duely.core.quotas import ADVICE

MAX_REPORTED = 100
"""Faults that one answer lists. A limit, because a body can have a hundred thousand."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field. `field` is the path in the body or the query parameter's name."""

    field: str
    code: str
    message: str


class Refused(Exception):
    """Base of all refusals.

    Class attributes: `code` (stable, documented), `status` (HTTP) and `title` (the kind of error).
    detail: the error in this request, and what to do. headers: headers of the answer. extra: additional members of the
    problem document. members: the JSON schemas of the additional members that every document of this class has.
    looks_like_attack: true for a forged or unknown token, a wrong password or a wrong code. Only these refusals of
    callers who are not signed in count towards an automatic ban (decision 0029).
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]
    members: ClassVar[Mapping[str, Any]] = {}
    looks_like_attack = False

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class ValidationFailed(Refused):
    """The structure or the values of the request are wrong. `errors` names every invalid field."""

    code = "validation_failed"
    status = 400
    title = "The request has invalid fields."

    def __init__(self, *errors: FieldError) -> None:
        names = list(dict.fromkeys(error.field for error in errors))
        count = f"{len(names)} fields are" if len(names) > 1 else "1 field is"
        ellipsis = ", …" if len(names) > MAX_REPORTED else ""
        listed = ", ".join(names[:MAX_REPORTED])
        super().__init__(f"{count} invalid: {listed}{ellipsis}.", errors=errors[:MAX_REPORTED])


class MalformedRequest(Refused):
    """The request cannot be read: it is not valid JSON, UTF-8 or HTTP."""

    code = "malformed_request"
    status = 400
    title = "The request could not be read."


class InvalidCursor(Refused):
    """The cursor is not from this server, or belongs to another ordering, filter or user."""

    code = "invalid_cursor"
    status = 400
    title = "The cursor does not fit this request."


class PageTooLarge(Refused):
    """The rows of a numbered page are together larger than an answer may be."""

    code = "page_too_large"
    status = 400
    title = "The rows of this page are too large for one answer."

    def __init__(self, most_bytes: int) -> None:
        super().__init__(
            f"Together they have more than {most_bytes} bytes. Ask for fewer rows with page_size, leave out long fields"
            " with fields, or use cursor and limit: a page by cursor ends when the answer is full."
        )


class NotAuthenticated(Refused):
    """The access token is missing or no longer valid."""

    code = "not_authenticated"
    status = 401
    title = "Sign in first."

    def __init__(self, detail: str = "Send an access token: Authorization: Bearer <token>.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Refused):
    """The caller may see this object, but may not do this with it."""

    code = "forbidden"
    status = 403
    title = "You are not allowed to do this."


class QuotaExceeded(Refused):
    """The user has reached a quota. `quota` is its name, `limit` its value."""

    code = "quota_exceeded"
    status = 403
    title = "You have reached a quota."

    def __init__(self, quota: str, limit: int) -> None:
        about = f"A user may have at most {limit} {quota.replace('_', ' ')}. {ADVICE[quota]}"
        super().__init__(about, extra={"quota": quota, "limit": limit})


class NotFound(Refused):
    """The object does not exist, or the caller may not see it."""

    code = "not_found"
    status = 404
    title = "Not found."


class AddressBanned(Refused):
    """Requests from this address are refused, until a time or permanently. Only admins see the reason."""

    code = "address_banned"
    status = 403
    title = "Your address is banned."

    def __init__(self, until: str | None, *, is_automatic: bool = False) -> None:
        super().__init__(f"The ban ends at {until}." if until else "Ask an administrator.")
        self.is_automatic = is_automatic


class CrossSiteRequest(Refused):
    """A browser sent this request for a page of another site, as `Sec-Fetch-Site` or `Origin` says."""

    code = "cross_site_request"
    status = 403
    title = "A page of another site may not send this request."

    def __init__(self) -> None:
        super().__init__(
            "Send it from a page of this server, whose address is PUBLIC_URL, from an origin in CORS_ALLOWED_ORIGINS,"
            " or without the headers Sec-Fetch-Site and Origin."
        )


class MethodNotAllowed(Refused):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    status = 405
    title = "This method is not allowed here."


class AlreadyExists(Refused):
    """An object with the same unique value exists already."""

    code = "already_exists"
    status = 409
    title = "This exists already."


class BodyTooLarge(Refused):
    """The body is larger than the limit."""

    code = "body_too_large"
    status = 413
    title = "The body is too large."


class UnsupportedMediaType(Refused):
    """The operation does not accept the Content-Type or Content-Encoding of the body.

    When the Content-Encoding was refused, the header `Accept-Encoding` lists the accepted ones.
    """

    code = "unsupported_media_type"
    status = 415
    title = "The operation does not accept a body of this type."


class RateLimited(Refused):
    """The caller has reached a rate limit. `Retry-After` says how many seconds to wait."""

    code = "rate_limited"
    status = 429
    title = "Too many requests."

    def __init__(self, seconds: int, about: str = "") -> None:
        text = f"Try again in {seconds} second{'s' if seconds > 1 else ''}"
        super().__init__(f"{about}{text}.", headers={"Retry-After": str(seconds)})


class InternalError(Refused):
    """An error in the server. Its log has the details under the request id."""

    code = "internal_error"
    status = 500
    title = "The server has made an error."


class Unavailable(Refused):
    """The database or another service is temporarily out of reach or overloaded."""

    code = "unavailable"
    status = 503
    title = "The service cannot answer right now."

    def __init__(self, detail: str = "Try again in a second.") -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


def catalogue() -> dict[str, type[Refused]]:
    """All imported refusals by code. The reference page of error codes is generated from it."""
    refusals: dict[str, type[Refused]] = {}
    unvisited = list(Refused.__subclasses__())
    while unvisited:
        refusal = unvisited.pop()
        unvisited.extend(refusal.__subclasses__())
        if "code" in vars(refusal):
            refusals[refusal.code] = refusal
    return dict(sorted(refusals.items()))
