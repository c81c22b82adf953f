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

    returns: the struct of the successful answer, None for 204.
    name: the operation's id in the document.
    refuses: the refusals, without those that follow from the declaration (sign-in, permission, body, query string,
    internal error).
    public: needs no sign-in. takes_token: a public operation that accepts an access token, and refuses an invalid one.
    limit: the rate limit of a public operation. Other operations count towards the limit of their user.
    headers: descriptions of the headers of each successful answer. optional_headers: of some of them.
    conditional: may answer 304 (`Resource.tagged`).
    also: structs of other successful answers by status. also_media: other media types of the successful answer.
    keyed: a POST or PATCH accepts an Idempotency-Key. Public operations do not, because their answers contain tokens.
    asks_permission: answers 403 to a role without the required permission. False for operations that no role can be
    denied, and for those that answer 404 instead.
    prepare: slow work such as hashing a password. It is called with the arguments of the method, before the transaction
    of an Idempotency-Key, and the method gets its result as `prepared`.
    """

    def decorate(method: Method) -> Method:
        hints = {key for key in method.__annotations__ if key.startswith("parsed_")}
        refusals = dict.fromkeys(_implied(hints, public=public and not takes_token))
        if asks_permission and not public:
            refusals[errors.Forbidden] = None
        if method.__name__ in ("post", "patch") and keyed and not public:
            method = _with_idempotency(method, name, prepare)
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
                ResponseSpec(struct, status_code=HTTPStatus(code), limit_to_content_types={JSON})
                for code, struct in (also or {}).items()
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


def _with_idempotency(method: Method, name: str, prepare: Callable[..., Any] | None) -> Method:
    """The method with support for Idempotency-Key: a repeated request gets the first answer again."""

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
