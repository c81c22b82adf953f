"""The base of all endpoints, on django-modern-rest.

The framework dispatches methods, reads paths and builds the OpenAPI document. Bodies and query
strings are read by our own components, which report every fault at once; errors become problem
documents; answers are bytes that we encoded ourselves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import cache, update_wrapper, wraps
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, cast

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import classonlymethod
from django.utils.module_loading import import_string
from dmr import Controller, HeaderSpec, ResponseSpec, validate
from dmr.components import ComponentParser, PathComponent
from dmr.endpoint import Endpoint
from dmr.openapi.objects import (
    MediaType,
    OpenAPIFormat,
    OpenAPIType,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityRequirement,
    SecurityScheme,
)
from dmr.plugins.msgspec import MsgspecJsonRenderer, MsgspecSerializer
from dmr.plugins.msgspec.schema import JsonSchemaKwargs, MsgspecSchemaGenerator
from dmr.renderers import Renderer
from dmr.security import SyncAuth

from duely.api import idempotency
from duely.api.answers import Answer
from duely.api.bodies import build, read_body, read_options
from duely.api.lists import Listing, ListQuery
from duely.api.problems import CONTENT_TYPE as PROBLEM_JSON
from duely.api.problems import Problem, problem
from duely.api.request import ApiRequest
from duely.api.types import describe
from duely.api.versions import has_already, list_etag
from duely.core import errors
from duely.core.actor import Actor, anonymous
from duely.core.errors import Refused
from duely.database.compiled import Seen

__all__ = ["Body", "Listed", "Options", "Path", "Resource", "Upload", "operation"]

JSON = "application/json"
REVALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
"""For what a client may keep, if it asks each time whether that is still so."""
NOT_MODIFIED = "Not changed: the current ETag is one of those in If-None-Match."
MAX_PUBLIC_BYTES = 16 * 1024
"""Of the body of a public operation. Strangers send it, and it is read before their limits count it."""
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., HttpResponseBase])

ALWAYS: tuple[type[Refused], ...] = (
    errors.AddressBanned,
    errors.CrossSiteRequest,
    errors.RateLimited,
    errors.InternalError,
    errors.Unavailable,
)


class _SchemaGenerator(MsgspecSchemaGenerator):
    __slots__ = ()
    json_schema_kwargs: ClassVar[JsonSchemaKwargs] = {"schema_hook": describe}


class Serializer(MsgspecSerializer):
    """msgspec, knowing our field types."""

    __slots__ = ()
    schema_generator = _SchemaGenerator

    @classmethod
    def deserialize_hook(cls, target_type: type[Any], to_deserialize: Any) -> Any:
        """Make a field type of our own from a JSON value."""
        return build(target_type, to_deserialize)


class _BodyComponent(ComponentParser):
    """A JSON body, read by `duely.api.bodies`."""

    __slots__ = ()
    context_name = "parsed_body"

    def provide_context_data(
        self, endpoint: Endpoint, controller: Controller[Any], *, field_model: Any, default: Any = None
    ) -> Any:
        return read_body(controller.request, field_model)

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []

    def get_schema(
        self, model: Any, model_meta: Any, metadata: Any, controller_cls: Any, context: Any
    ) -> list[Parameter | Reference] | RequestBody:
        schema = context.generators.schema(model, controller_cls.serializer)
        return RequestBody(content={JSON: MediaType(schema=schema)}, required=True)


class Listed(ComponentParser):
    """The query string of a list, as its `Listing` declares it."""

    __slots__ = ("listing",)
    context_name = "parsed_query"

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def provide_context_data(
        self, endpoint: Endpoint, controller: Controller[Any], *, field_model: Any, default: Any = None
    ) -> ListQuery:
        return self.listing.parse(controller.request.GET, controller.request.actor)  # type: ignore[attr-defined]

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []

    def get_schema(
        self, model: Any, model_meta: Any, metadata: Any, controller_cls: Any, context: Any
    ) -> list[Parameter | Reference] | RequestBody:
        return []  # added to the finished document by duely.api.openapi, which writes plain JSON schema


class Upload(ComponentParser):
    """A file as the body, of one of these media types; the part `file` of a form. The endpoint reads it itself."""

    __slots__ = ("examples", "media")
    context_name = "parsed_upload"

    def __init__(self, media: Sequence[str], examples: Mapping[str, Mapping[str, Any]]) -> None:
        """examples: media type → name → a file."""
        self.media = media
        self.examples = examples

    def provide_context_data(
        self, endpoint: Endpoint, controller: Controller[Any], *, field_model: Any, default: Any = None
    ) -> Any:
        return None

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []

    def get_schema(
        self, model: Any, model_meta: Any, metadata: Any, controller_cls: Any, context: Any
    ) -> list[Parameter | Reference] | RequestBody:
        return RequestBody(
            content={media: MediaType(schema=_UPLOADED.get(media, _FILE)) for media in self.media}, required=True
        )


_FILE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
_UPLOADED = {
    JSON: Schema(type=OpenAPIType.OBJECT, additional_properties=True),
    "multipart/form-data": Schema(
        type=OpenAPIType.OBJECT, properties={"file": _FILE}, required=["file"], additional_properties=False
    ),
}


class _OptionsComponent(ComponentParser):
    """A few query parameters, as fields of a struct."""

    __slots__ = ()
    context_name = "parsed_options"

    def provide_context_data(
        self, endpoint: Endpoint, controller: Controller[Any], *, field_model: Any, default: Any = None
    ) -> Any:
        return read_options(controller.request.GET, field_model)

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []

    def get_schema(
        self, model: Any, model_meta: Any, metadata: Any, controller_cls: Any, context: Any
    ) -> list[Parameter | Reference] | RequestBody:
        return []  # as for `Listed`


class _IdsComponent(PathComponent):
    """The ids in a path, as fields of a struct."""

    __slots__ = ()

    def provide_context_data(
        self, endpoint: Endpoint, controller: Controller[Any], *, field_model: Any, default: Any = None
    ) -> Any:
        return field_model(**controller.kwargs)


_Model = TypeVar("_Model")
Path: TypeAlias = Annotated[_Model, _IdsComponent()]
"""The ids in a path: `parsed_path: Path[TaskPath]`."""
Options: TypeAlias = Annotated[_Model, _OptionsComponent()]
"""A few query parameters: `parsed_options: Options[Confirmation]`."""
Body: TypeAlias = Annotated[_Model, _BodyComponent()]
"""A JSON body: `parsed_body: Body[TaskIn]`."""


class ProblemRenderer(MsgspecJsonRenderer):
    """Names the media type of problem documents in the OpenAPI document."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(PROBLEM_JSON)


class _Endpoint(Endpoint):
    """One method of a resource. The framework describes it; what happens when it is called is here."""

    __slots__ = ()

    def __init__(self, func: Callable[..., Any], *, controller_cls: type[Controller[Any]]) -> None:
        super().__init__(func, controller_cls=controller_cls)
        self.func = self._called(func)

    def _called(self, method: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        """Check who asks, read what the method takes, and call it. Of what is raised the guard makes a problem.

        Public operations read first: only a body that can be read counts towards the limits of guesses.
        """
        [check] = cast("list[SyncAuth]", self.metadata.auth)
        parts = [(spec.parser.context_name, spec.parser, spec.model) for spec in self.metadata.component_parsers]
        takes_query = any(isinstance(parser, Listed | _OptionsComponent) for _, parser, _ in parts)

        def read(resource: "Resource") -> dict[str, Any]:
            request = resource.request
            if request.GET and not takes_query:
                _refuse_parameters(request)
            taken = {}
            for name, parser, kind in parts:
                taken[name] = parser.provide_context_data(self, resource, field_model=kind)
            return taken

        def call(resource: "Resource", *_: Any, **__: Any) -> HttpResponseBase:
            check(self, resource)
            answer: HttpResponseBase = method(resource, **read(resource))
            return answer

        if not isinstance(check, Open):
            return call
        scope = check.scope

        def call_public(resource: "Resource", *_: Any, **__: Any) -> HttpResponseBase:
            request = resource.request
            try:
                _refuse_long(request)
                taken = read(resource)
            except Exception:
                # What cannot be read is no guess. Any page could send it from the browsers of its visitors.
                limit_public()(request, scope, is_readable=False)
                raise
            check(self, resource)
            answer: HttpResponseBase = method(resource, **taken)
            return answer

        return call_public


def _refuse_long(request: HttpRequest) -> None:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_PUBLIC_BYTES:  # a number: the guard has checked it
        raise errors.BodyTooLarge(f"The body of this operation may have {MAX_PUBLIC_BYTES} bytes at most.")


@cache
def _authenticate() -> Callable[[HttpRequest], Actor]:
    found: Callable[[HttpRequest], Actor] = import_string(settings.AUTHENTICATE)
    return found


class Bearer(SyncAuth):
    """An access token in the Authorization header (RFC 6750 section 2.1), checked by `settings.AUTHENTICATE`."""

    __slots__ = ()
    www_authenticate_challenge = "Bearer"

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "Bearer":
        controller.request.actor = _authenticate()(controller.request)  # type: ignore[attr-defined]
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """How the document describes it."""
        description = (
            "The access token: the value of `access` in the answer of `POST /api/v1/auth/login/`,"
            " `POST /api/v1/auth/verify-otp/` or `POST /api/v1/auth/token/refresh/`. Paste it without quotes and"
            " without the word `Bearer`. It expires after `expires_in` seconds; then get a new one."
        )
        return {"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT", description=description)}

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """How an operation asks for it."""
        return [{"bearer": []}]

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []


@cache
def limit_public() -> Callable[..., None]:
    """What counts a request without a sign-in within a scope (`settings.LIMIT_PUBLIC`). It raises RateLimited (429)."""
    return cast("Callable[..., None]", import_string(settings.LIMIT_PUBLIC))


class Open(SyncAuth):
    """No sign-in: the caller is anonymous, and counted by address (`settings.LIMIT_PUBLIC`) within `scope`."""

    __slots__ = ("scope",)
    www_authenticate_challenge = None

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "Open":
        request = cast("ApiRequest", controller.request)
        limit_public()(request, self.scope)
        request.actor = anonymous(request.origin)
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """None."""
        return {}

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """None."""
        return []

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []


class OpenOrBearer(Open):
    """Open, but who sends an access token must send one that works: the answer depends on it."""

    __slots__ = ()

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "OpenOrBearer":
        super().__call__(endpoint, controller)
        request = cast("ApiRequest", controller.request)
        if request.META.get("HTTP_AUTHORIZATION"):
            request.actor = _authenticate()(request)
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """As `Bearer`."""
        return Bearer().security_schemes()

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """A token. That it may be left out `duely.api.openapi` adds: dmr drops empty requirements."""
        return Bearer().security_requirements()


class Resource(Controller[Serializer]):
    """One path. Methods are endpoints; each is decorated with `operation`.

    `self.actor` is the caller, checked already; operations with `public=True` have an anonymous one.
    """

    is_abstract: ClassVar[bool] = True
    endpoint_cls = _Endpoint
    validate_responses = False
    semantic_responses = False
    renderers: ClassVar[Sequence[Renderer]] = [MsgspecJsonRenderer(), ProblemRenderer()]
    auth = [Bearer()]
    request: ApiRequest

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return self.request.actor

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:  # noqa: N805
        """As Django's, without its looks at what was just made."""

        def view(request: ApiRequest, **kwargs: Any) -> HttpResponseBase:
            resource = cls.__new__(cls)
            resource.request, resource.args, resource.kwargs = request, (), kwargs
            return resource.dispatch(request)

        return update_wrapper(view, super().as_view(**initkwargs))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Serve HEAD by GET (RFC 9110 section 9.3.2) and OPTIONS by the list of methods."""
        method = request.method or ""
        if method == "OPTIONS":
            return Answer(status=HTTPStatus.NO_CONTENT, headers={"Allow": self._allowed()})
        endpoint = self.api_endpoints.get("GET" if method == "HEAD" else method)
        if endpoint is None:
            return problem(
                errors.MethodNotAllowed(f"Allowed here: {self._allowed()}.", headers={"Allow": self._allowed()}),
                request,
            )
        return endpoint.func(self, *args, **kwargs)

    @classmethod
    def _allowed(cls) -> str:
        methods = {*cls.api_endpoints, "OPTIONS", *(("HEAD",) if "GET" in cls.api_endpoints else ())}
        return ", ".join(sorted(methods))

    def show(
        self, content: msgspec.Struct | bytes, status: int = 200, *, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """An answer with a body: a struct, or JSON that is encoded already."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return Answer(body, status=status, content_type=JSON, headers=headers)

    def tagged(self, content: Callable[[], msgspec.Struct | bytes], tag: str | None) -> HttpResponse:
        """An answer with its entity tag; 304 without a body for whoever has it already. No tag: as `show`."""
        if tag is None:
            return self.show(content())
        headers = {"ETag": tag, **REVALIDATED}
        if has_already(self.request, tag):
            return Answer(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return self.show(content(), headers=headers)

    def listed(self, listing: Listing, seen: Seen, query: ListQuery) -> HttpResponse:
        """A page of what the caller may see, with its entity tag, as `tagged`."""
        return self.tagged(lambda: listing.answer(seen, query), list_etag(self.request))

    def nothing(self) -> HttpResponse:
        """204: done, and nothing to say."""
        return Answer(status=HTTPStatus.NO_CONTENT)


def _refuse_parameters(request: HttpRequest) -> None:
    """Nothing is silently ignored: a query string where none is read is an error."""
    about = "This operation takes no query parameters."
    raise errors.ValidationFailed(*(errors.FieldError(name, "unknown_parameter", about) for name in request.GET))


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
    prepare: Callable[..., Any] | None = None,
) -> Callable[[Method], Method]:
    """Declare one operation for the OpenAPI document.

    `returns` is the struct of the good answer, None for 204. `refuses` are the refusals besides
    those that follow from the shape (sign-in, body, query string, crash). `headers` are those of
    the good answer with what they hold, `optional_headers` those that only some good answers have.
    `name` is the operation's id in the document. `limit` is what a public one counts towards; others
    count towards their user's own limit. A `conditional` one may answer 304 (`Resource.tagged`).
    takes_token: a public one that looks at an access token if there is one, and refuses one that does not work.
    `also`: other good answers by their status; `also_media`: other media types of the good answer.
    POST and PATCH take an Idempotency-Key, but for those that are not `keyed`, and for public ones: their answers hold
    tokens.
    `prepare` is for what takes long, such as to hash a password: it is called with what the method takes, before the
    transaction of an Idempotency-Key, and the method gets the result as `prepared`.
    """

    def decorate(method: Method) -> Method:
        hints = {key for key in method.__annotations__ if key.startswith("parsed_")}
        refusals = dict.fromkeys(_implied(hints, public=public and not takes_token))
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
