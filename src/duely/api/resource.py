"""The base class of all endpoints, on top of django-modern-rest (decisions 0002 and 0021).

The framework describes operations and builds the OpenAPI document. Duely's own components read bodies and query
strings, and report all faults at once. Errors become problem documents. Answers are encoded by msgspec.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar, cast

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import classonlymethod
from dmr import Controller
from dmr.endpoint import Endpoint
from dmr.plugins.msgspec import MsgspecJsonRenderer, MsgspecSerializer
from dmr.plugins.msgspec.schema import JsonSchemaKwargs, MsgspecSchemaGenerator
from dmr.renderers import Renderer
from dmr.security import SyncAuth

from duely.api.answers import JSON, Answer
from duely.api.bodies import build
from duely.api.components import Listed, OptionsComponent
from duely.api.lists import Listing, ListQuery
from duely.api.problems import CONTENT_TYPE as PROBLEM_JSON
from duely.api.problems import problem
from duely.api.request import ApiRequest
from duely.api.security import Bearer, Open, limit_public
from duely.api.types import describe
from duely.api.versions import has_already, list_etag
from duely.core import errors
from duely.core.actor import Actor
from duely.database.compiled import Visible

REVALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
"""Headers of answers that a client may store, if it revalidates them for each use."""
MAX_PUBLIC_BYTES = 16 * 1024
"""Size of the body of a public operation. Strangers send it, and it is read before a rate limit counts it."""
T = TypeVar("T")


class _SchemaGenerator(MsgspecSchemaGenerator):
    __slots__ = ()
    json_schema_kwargs: ClassVar[JsonSchemaKwargs] = {"schema_hook": describe}


class Serializer(MsgspecSerializer):
    """msgspec with Duely's field types."""

    __slots__ = ()
    schema_generator = _SchemaGenerator

    @classmethod
    def deserialize_hook(cls, target_type: type[Any], to_deserialize: Any) -> Any:
        """A field type of Duely from a JSON value."""
        return build(target_type, to_deserialize)


class ProblemRenderer(MsgspecJsonRenderer):
    """Names the media type of problem documents in the OpenAPI document."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(PROBLEM_JSON)


class _Endpoint(Endpoint):
    """One method of a resource. The framework describes it; this class calls it."""

    __slots__ = ()

    def __init__(self, func: Callable[..., Any], *, controller_cls: type[Controller[Any]]) -> None:
        super().__init__(func, controller_cls=controller_cls)
        self.func = self._with_checks(func)

    def _with_checks(self, method: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        """A function that authenticates the caller, reads the parts of the request, and calls the method.

        `pipeline` turns its exceptions into problem documents. Bypasses the framework's dispatch (decision 0021).
        Public operations read the body first, because only a readable body counts towards the limits of guesses.
        """
        [check] = cast("list[SyncAuth]", self.metadata.auth)
        parts = [(spec.parser.context_name, spec.parser, spec.model) for spec in self.metadata.component_parsers]
        takes_query = any(isinstance(parser, Listed | OptionsComponent) for _, parser, _ in parts)

        def read(resource: "Resource") -> dict[str, Any]:
            request = resource.request
            if request.GET and not takes_query:
                _refuse_parameters(request)
            arguments = {}
            for name, parser, kind in parts:
                arguments[name] = parser.provide_context_data(self, resource, field_model=kind)
            return arguments

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
                _refuse_long_body(request)
                arguments = read(resource)
            except Exception:
                # An unreadable body is no guess. Any web page could send one from the browsers of its visitors
                # (decision 0041).
                limit_public()(request, scope, is_readable=False)
                raise
            check(self, resource)
            answer: HttpResponseBase = method(resource, **arguments)
            return answer

        return call_public


def _refuse_long_body(request: HttpRequest) -> None:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_PUBLIC_BYTES:  # `pipeline` has checked that it is a number
        raise errors.BodyTooLarge(f"The body of this operation may have {MAX_PUBLIC_BYTES} bytes at most.")


class Resource(Controller[Serializer]):
    """One path. Its methods are operations, each decorated with `operation`."""

    is_abstract: ClassVar[bool] = True
    endpoint_cls = _Endpoint
    # The tests check each answer against the document (tests/contract.py). Here it would cost time in each request.
    validate_responses = False
    semantic_responses = False
    renderers: ClassVar[Sequence[Renderer]] = [MsgspecJsonRenderer(), ProblemRenderer()]
    auth = [Bearer()]
    request: ApiRequest

    @property
    def actor(self) -> Actor:
        """The authenticated caller, or an anonymous actor in public operations."""
        return self.request.actor

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:  # noqa: N805
        """Django's `as_view` without the checks of each new instance, for speed (decision 0021)."""

        def view(request: ApiRequest, **kwargs: Any) -> HttpResponseBase:
            resource = cls.__new__(cls)
            resource.request, resource.args, resource.kwargs = request, (), kwargs
            return resource.dispatch(request)

        return update_wrapper(view, super().as_view(**initkwargs))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer HEAD like GET (RFC 9110 section 9.3.2), and OPTIONS with the list of methods."""
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
        methods = {*cls.api_endpoints, "OPTIONS"}
        if "GET" in methods:
            methods.add("HEAD")
        return ", ".join(sorted(methods))

    def show(
        self, content: msgspec.Struct | bytes, status: int = 200, *, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """An answer with a body: a struct, or encoded JSON."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return Answer(body, status=status, content_type=JSON, headers=headers)

    def tagged(self, content: Callable[[], msgspec.Struct | bytes], tag: str | None) -> HttpResponse:
        """An answer with this entity tag, or 304 if the client has it already. Without a tag like `show`."""
        if tag is None:
            return self.show(content())
        headers = {"ETag": tag, **REVALIDATED}
        if has_already(self.request, tag):
            return Answer(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return self.show(content(), headers=headers)

    def listed(self, listing: Listing, visible: Visible, query: ListQuery) -> HttpResponse:
        """A page of the rows that the caller may see, with its entity tag."""
        return self.tagged(lambda: listing.answer(visible, query), list_etag(self.request, visible.scope))

    def nothing(self) -> HttpResponse:
        """204 without a body."""
        return Answer(status=HTTPStatus.NO_CONTENT)


def _refuse_parameters(request: HttpRequest) -> None:
    """Refuse the query string of an operation without parameters. Nothing is ignored silently."""
    message = "This operation takes no query parameters."
    raise errors.ValidationFailed(*(errors.FieldError(name, "unknown_parameter", message) for name in request.GET))
