"""The declaration of an operation for the OpenAPI document, and its Idempotency-Key."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast

from django.http import HttpResponse, HttpResponseBase
from dmr import HeaderSpec, ResponseSpec, validate

from duely.api import idempotency
from duely.api.answers import JSON
from duely.api.problems import CONTENT_TYPE as PROBLEM_JSON
from duely.api.problems import Problem
from duely.api.resource import Resource
from duely.api.security import Open, OpenOrBearer
from duely.core import errors
from duely.core.errors import Refused

NOT_MODIFIED = "Not changed: the current ETag is one of those in If-None-Match."
Method = TypeVar("Method", bound=Callable[..., HttpResponseBase])
ALWAYS: tuple[type[Refused], ...] = (
    errors.AddressBanned,
    errors.CrossSiteRequest,
    errors.RateLimited,
    errors.InternalError,
    errors.Unavailable,
)


def operation(
    returns: Any,
    *,
    name: str,
    status: int = 200,
    refuses: Iterable[type[Refused]] = (),
    public: bool = False,
    takes_token: bool = False,
    limit: str = "anonymous",
    headers: Mapping[str, str] | None = None,
    optional_headers: Mapping[str, str] | None = None,
    conditional: bool = False,
    also: Mapping[int, Any] | None = None,
    also_media: Sequence[str] = (),
    keyed: bool = True,
    asks_permission: bool = True,
    prepare: Callable[..., Any] | None = None,
) -> Callable[[Method], Method]:
    """Declare one operation for the OpenAPI document.

    `returns` is the struct of the good answer, None for 204. `refuses` are the refusals besides
    those that follow from the shape (sign-in, permission, body, query string, crash). `headers` are those of
    the good answer with what they hold, `optional_headers` those that only some good answers have.
    `name` is the operation's id in the document. `limit` is what a public one counts towards; others
    count towards their user's own limit. A `conditional` one may answer 304 (`Resource.tagged`).
    takes_token: a public one that looks at an access token if there is one, and refuses one that does not work.
    `also`: other good answers by their status; `also_media`: other media types of the good answer.
    POST and PATCH take an Idempotency-Key, but for those that are not `keyed`, and for public ones: their answers hold
    tokens.
    asks_permission: answers 403 to a role without the permission that it needs. False for operations that no role can
    be denied, and for those that answer 404 instead.
    `prepare` is for what takes long, such as to hash a password: it is called with what the method takes, before the
    transaction of an Idempotency-Key, and the method gets the result as `prepared`.
    """

    def decorate(method: Method) -> Method:
        hints = {key for key in method.__annotations__ if key.startswith("parsed_")}
        refusals = dict.fromkeys(_implied(hints, public=public and not takes_token))
        if asks_permission and not public:
            refusals[errors.Forbidden] = None
        if method.__name__ in ("post", "patch") and keyed and not public:
            method = _once(method, name, prepare)
            refusals.update(dict.fromkeys(idempotency.REFUSES))
        refusals.update(dict.fromkeys(refuses))
        specs = [
            ResponseSpec(
                returns,
                status_code=HTTPStatus(status),
                headers=_header_specs(headers, required=True) | _header_specs(optional_headers, required=False) or None,
                limit_to_content_types={JSON},
                x_extensions={"x-also-media": [*also_media]} if also_media else None,
            ),
            *(
                ResponseSpec(other, status_code=HTTPStatus(code), limit_to_content_types={JSON})
                for code, other in (also or {}).items()
            ),
            *_problem_specs(refusals),
        ]
        if conditional:
            tag = {"ETag": HeaderSpec(description="The current ETag.")}
            specs.append(ResponseSpec(None, status_code=HTTPStatus.NOT_MODIFIED, headers=tag, description=NOT_MODIFIED))
        open_to_all = OpenOrBearer(limit) if takes_token else Open(limit)
        options: dict[str, Any] = {"auth": [open_to_all]} if public else {}
        return cast("Method", validate(*specs, operation_id=name, validate_responses=False, **options)(method))

    return decorate


def _once(method: Method, name: str, prepare: Callable[..., Any] | None) -> Method:
    """The method, which repeats its first answer to whoever repeats a request with an Idempotency-Key."""

    answer = cast("Callable[..., HttpResponse]", method)

    @wraps(method)
    def wrapped(self: Resource, *args: Any, **kwargs: Any) -> HttpResponse:
        target = [name, *map(str, self.kwargs.values())]
        if prepare is None:
            return idempotency.answer_once(self.request, target, lambda _: answer(self, *args, **kwargs))
        return idempotency.answer_once(
            self.request,
            target,
            lambda prepared: answer(self, *args, **kwargs, prepared=prepared),
            prepare=lambda: prepare(self, *args, **kwargs),
        )

    return cast("Method", wrapped)


def _header_specs(headers: Mapping[str, str] | None, *, required: bool) -> dict[str, HeaderSpec]:
    return {name: HeaderSpec(description=text, required=required) for name, text in (headers or {}).items()}


def _implied(hints: Set[str], *, public: bool) -> Iterable[type[Refused]]:
    if not public:
        yield errors.NotAuthenticated
    yield from (errors.MalformedRequest, errors.ValidationFailed)
    if hints & {"parsed_body", "parsed_upload"}:
        yield from (errors.BodyTooLarge, errors.UnsupportedMediaType)
    if "parsed_query" in hints:
        yield errors.InvalidCursor
    yield from ALWAYS


def _problem_specs(refusals: Iterable[type[Refused]]) -> Iterable[ResponseSpec]:
    by_status: dict[int, list[type[Refused]]] = {}
    for refused in refusals:
        by_status.setdefault(refused.status, []).append(refused)
    for status, group in sorted(by_status.items()):
        yield ResponseSpec(
            Problem,
            status_code=HTTPStatus(status),
            description="; ".join(f"`{refused.code}`: {refused.title}" for refused in group),
            limit_to_content_types={PROBLEM_JSON},
            x_extensions={"x-problem-codes": [refused.code for refused in group]},
        )
