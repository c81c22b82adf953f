"""Refusals: everything that the product says no to, as one family of exceptions.

Subclasses stand beside the action that raises them; the ones here are shared by all.
`duely.api.problems` turns any of them into an RFC 9457 problem document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from duely.core.quotas import ADVICE

MAX_REPORTED = 100
"""How many faults one answer names. Nobody reads more, and a body can hold a hundred thousand."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field. `field` is the path in the body or the query parameter's name."""

    field: str
    code: str
    message: str


class Refused(Exception):
    """Base of all refusals.

    Class attributes: `code` (stable, documented), `status` (HTTP) and `title` (what is wrong, the
    same for each occurrence). `detail` says what is wrong this time and what to do next.
    `headers` go on the answer; `extra` are further members of the problem document. `members`: the JSON schemas of
    those that it always has, by name.
    `looks_like_attack`: a forged or unknown token, a wrong password or a wrong code. Only these refusals of callers
    who are not signed in count towards an automatic ban (decision 0029).
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
    """The request's shape or values are wrong; `errors` names every field at fault."""

    code = "validation_failed"
    status = 400
    title = "The request has invalid fields."

    def __init__(self, *errors: FieldError) -> None:
        names = list(dict.fromkeys(error.field for error in errors))
        count = f"{len(names)} fields are" if len(names) > 1 else "1 field is"
        more = ", …" if len(names) > MAX_REPORTED else ""
        shown = ", ".join(names[:MAX_REPORTED])
        super().__init__(f"{count} invalid: {shown}{more}.", errors=errors[:MAX_REPORTED])


class MalformedRequest(Refused):
    """The request cannot be read at all: not JSON, not UTF-8, not HTTP as we know it."""

    code = "malformed_request"
    status = 400
    title = "The request could not be read."


class InvalidCursor(Refused):
    """The cursor is not one of ours, or belongs to another ordering, filter or caller."""

    code = "invalid_cursor"
    status = 400
    title = "The cursor does not fit this request."


class PageTooLarge(Refused):
    """The rows of a page by number are together larger than an answer may be."""

    code = "page_too_large"
    status = 400
    title = "The rows of this page are too large for one answer."

    def __init__(self, most_bytes: int) -> None:
        super().__init__(
            f"They take more than {most_bytes} bytes together. Ask for fewer rows with page_size, leave long fields out"
            " with fields, or use cursor and limit: pages by cursor end where an answer is full."
        )


class NotAuthenticated(Refused):
    """No access token, or one that is not valid any more."""

    code = "not_authenticated"
    status = 401
    title = "Sign in first."

    def __init__(self, detail: str = "Send an access token: Authorization: Bearer <token>.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Refused):
    """The caller may see this but not do that."""

    code = "forbidden"
    status = 403
    title = "You may not do this."


class QuotaExceeded(Refused):
    """The user stores as much as they may. `quota` names it, `limit` is the number."""

    code = "quota_exceeded"
    status = 403
    title = "You have reached a quota."

    def __init__(self, quota: str, limit: int) -> None:
        about = f"At most {limit} {quota.replace('_', ' ')} for each user. {ADVICE[quota]}"
        super().__init__(about, extra={"quota": quota, "limit": limit})


class NotFound(Refused):
    """Nothing there, or nothing that this caller may see."""

    code = "not_found"
    status = 404
    title = "There is nothing here."


class AddressBanned(Refused):
    """Nothing is answered to this address, for a time or for good. Why is for admins to know."""

    code = "address_banned"
    status = 403
    title = "Your address is banned."

    def __init__(self, until: str | None, *, is_automatic: bool = False) -> None:
        super().__init__(f"It is until {until}." if until else "Ask an administrator.")
        self.is_automatic = is_automatic


class MethodNotAllowed(Refused):
    """The path exists, the method on it does not."""

    code = "method_not_allowed"
    status = 405
    title = "This method does not work here."


class AlreadyExists(Refused):
    """Something with the same unique value is there already."""

    code = "already_exists"
    status = 409
    title = "This exists already."


class BodyTooLarge(Refused):
    """The body is over the limit."""

    code = "body_too_large"
    status = 413
    title = "The body is too large."


class UnsupportedMediaType(Refused):
    """The Content-Type or Content-Encoding of the body is not one that the operation takes.

    `Accept-Encoding` names the codings that it takes, where a coding was the reason.
    """

    code = "unsupported_media_type"
    status = 415
    title = "The body is not in a form that this operation takes."


class RateLimited(Refused):
    """Too many requests of one caller within the time of the limit. `Retry-After` says when there is room again."""

    code = "rate_limited"
    status = 429
    title = "Too many requests."

    def __init__(self, seconds: int, about: str = "") -> None:
        text = f"Try again in {seconds} second{'s' if seconds > 1 else ''}"
        super().__init__(f"{about}{text}.", headers={"Retry-After": str(seconds)})


class InternalError(Refused):
    """A fault of ours. The log has the details under the request id."""

    code = "internal_error"
    status = 500
    title = "Something went wrong on our side."


class Unavailable(Refused):
    """The database or another part is out of reach or too busy for now."""

    code = "unavailable"
    status = 503
    title = "The service cannot answer right now."

    def __init__(self, detail: str = "Try again in a second.") -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


def catalogue() -> dict[str, type[Refused]]:
    """Every refusal that is imported by now, by code. The reference page of codes is made of it."""
    found: dict[str, type[Refused]] = {}
    waiting = list(Refused.__subclasses__())
    while waiting:
        refusal = waiting.pop()
        waiting.extend(refusal.__subclasses__())
        if "code" in vars(refusal):
            found[refusal.code] = refusal
    return dict(sorted(found.items()))
