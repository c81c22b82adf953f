"""Field types and JSON schemas that several modules share."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, Self, TypeAlias, TypeVar, cast

import msgspec

from duely.api.bodies import Invalid, far_year, is_plain
from duely.core.clock import OutOfRange, parse_instant

Instant: TypeAlias = Annotated[
    str, msgspec.Meta(extra_json_schema={"format": "date-time", "examples": ["2026-01-31T09:00:00.000Z"]})
]
"""An instant in an answer, as `duely.core.clock.rfc3339` writes it."""


V = TypeVar("V")
REFERENCE = "#/components/schemas/{name}"


class Parsed(Generic[V]):
    """A field of a body that needs more checks than a JSON type. `value` is the result of `read`.

    Subclasses define `schema` (JSON schema for the document) and `read`, which raises Invalid.
    """

    __slots__ = ("value",)
    schema: ClassVar[dict[str, Any]]

    def __init__(self, value: V) -> None:
        self.value = value

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Check a JSON value. Called by the body reader."""
        return cls(cls.read(raw))

    @classmethod
    def read(cls, raw: Any) -> V:
        """The value of a JSON value. Raises Invalid."""
        raise NotImplementedError


def describe(kind: type[Any]) -> dict[str, Any]:
    """The JSON schema of a field type of Duely: its attribute `schema`."""
    return cast("dict[str, Any]", kind.schema)


Named: TypeAlias = type[msgspec.Struct] | type[Enum]
REFERENCED: dict[str, Named] = {}


def reference(kind: Named) -> dict[str, Any]:
    """A reference to the JSON schema of a type that the framework does not see. The document gets that schema."""
    REFERENCED[kind.__name__] = kind
    return {"$ref": REFERENCE.format(name=kind.__name__)}


def one_of(tag: str, kinds: Mapping[str, type[msgspec.Struct]]) -> dict[str, Any]:
    """The JSON schema of a union of structs by the value of the field `tag`."""
    references = {value: reference(kind) for value, kind in kinds.items()}
    mapping = {value: each["$ref"] for value, each in references.items()}
    return {"oneOf": [*references.values()], "discriminator": {"propertyName": tag, "mapping": mapping}}


def component_schemas(kind: Named) -> dict[str, Any]:
    """The JSON schemas of a type and of all types to which it refers, by name."""
    return msgspec.json.schema_components([kind], schema_hook=describe, ref_template=REFERENCE)[1]


def inline_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of one struct that the framework does not see. It refers to the schemas of other types."""
    return cast("dict[str, Any]", component_schemas(kind)[kind.__name__])


def given(body: msgspec.Struct) -> dict[str, Any]:
    """The fields of a body by name, without absent ones. For a `Parsed` field, its value."""
    fields = {}
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if value is not msgspec.UNSET:
            fields[name] = value.value if isinstance(value, Parsed) else value
    return fields


def text_of(raw: Any, *, longest: int, shortest: int = 0, lines: bool = False) -> str:
    """A string without NUL and, unless `lines`, without any control character, trimmed unless `lines`."""
    if not isinstance(raw, str):
        raise Invalid("invalid_type", "Use a string.")
    checked = raw if lines else raw.strip()
    if len(checked) < shortest:
        raise Invalid("required" if shortest == 1 else "too_short", "This field must not be empty.")
    if len(checked) > longest:
        raise Invalid("too_long", f"Use at most {longest} characters.")
    if "\x00" in checked or (not lines and not is_plain(checked)):
        raise Invalid("invalid_format", "Remove the control characters.")
    return checked


def instant_of(raw: Any, *, example: str) -> datetime:
    """An instant (RFC 3339) with its offset from UTC."""
    try:
        return parse_instant(raw if isinstance(raw, str) else "")
    except OutOfRange:
        raise far_year() from None
    except ValueError:
        raise Invalid("invalid_datetime", f"Use {example}, with Z or an offset.") from None
