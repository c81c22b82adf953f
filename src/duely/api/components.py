"""The parts of a request that an operation reads: path, query string, body, file."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

from dmr import Controller, ResponseSpec
from dmr.components import ComponentParser, PathComponent
from dmr.endpoint import Endpoint
from dmr.openapi.objects import MediaType, OpenAPIFormat, OpenAPIType, Parameter, Reference, RequestBody, Schema

from duely.api.answers import JSON
from duely.api.bodies import read_body, read_options
from duely.api.lists import Listing, ListQuery


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
        return []  # `duely.api.openapi` adds the parameters of lists


class Upload(ComponentParser):
    """A file: a body of one of these media types, or the part `file` of a form. The endpoint reads it itself."""

    __slots__ = ("examples", "media")
    context_name = "parsed_upload"

    def __init__(self, media: Sequence[str], examples: Mapping[str, Mapping[str, Any]]) -> None:
        """examples: files by media type and name."""
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


class OptionsComponent(ComponentParser):
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
        return []  # `duely.api.openapi` adds the parameters


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
Options: TypeAlias = Annotated[_Model, OptionsComponent()]
"""A few query parameters: `parsed_options: Options[Confirmation]`."""
Body: TypeAlias = Annotated[_Model, _BodyComponent()]
"""A JSON body: `parsed_body: Body[TaskIn]`."""
