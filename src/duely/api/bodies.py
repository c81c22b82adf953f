"""Reads JSON bodies and query strings into structs. Reports the faults of all fields at once."""

import json
import re
from collections.abc import Iterable
from datetime import MAXYEAR, MINYEAR
from typing import Any, NoReturn, TypeVar

import msgspec
from django.http import HttpRequest, QueryDict

from duely.core.errors import FieldError, MalformedRequest, UnsupportedMediaType, ValidationFailed

BOM = b"\xef\xbb\xbf"
IDENTITY = "identity"
"""The only accepted content coding: no compression."""
# Limits that are checked before the work: a small body must not cost much time (decision 0018).
MAX_DEPTH = 32
MAX_KEYS = 1000
"""The number of keys in a body, and that of objects and lists. A model of larger bodies sets `max_keys`."""

T = TypeVar("T", bound=msgspec.Struct)


class Invalid(ValueError):
    """A value of the right JSON type that is not valid. Raised by field types."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def far_year(earliest: int = MINYEAR, latest: int = MAXYEAR) -> Invalid:
    """The error for a date in a year that a field cannot store."""
    return Invalid("out_of_range", f"Use a year from {earliest} to {latest}.")


_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and surrogates: the general categories Cc and Cs of Unicode."""


def is_plain(text: str) -> bool:
    """Whether this is one line of Unicode: no control characters, no lone surrogates."""
    return _NOT_PLAIN.search(text) is None


def read_body(request: HttpRequest, model: type[T]) -> T:
    """The body of a request as `model`.

    Raises UnsupportedMediaType (415); MalformedRequest (400) for a body that is not JSON; ValidationFailed (400) with
    all faulty fields.
    """
    refuse_coding(request)
    if request.content_type != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    return decode(request.body, model)


def refuse_coding(request: HttpRequest) -> None:
    """Refuse a compressed body. Raises UnsupportedMediaType (415), with `Accept-Encoding` (RFC 9110 12.5.3)."""
    coding = request.META.get("HTTP_CONTENT_ENCODING")
    if coding and coding.strip().lower() != IDENTITY:
        raise UnsupportedMediaType(
            f"Send the body as it is, without Content-Encoding. Supported codings: {IDENTITY}.",
            headers={"Accept-Encoding": IDENTITY},
        )


def decode(raw: bytes, model: type[T]) -> T:
    """Like `read_body`, from bytes."""
    return checked(_parse(raw, getattr(model, "max_keys", MAX_KEYS)), model)


def checked(document: dict[str, Any], model: type[T]) -> T:
    """An object of JSON values as `model`. Raises ValidationFailed (400) with all faulty fields."""
    try:
        return msgspec.convert(document, model, strict=True, dec_hook=build)
    except msgspec.ValidationError as fault:
        _explain(document, model, fault)


def read_options(params: QueryDict, model: type[T]) -> T:
    """The query string of an operation with a few parameters, as `model`. Raises ValidationFailed (400)."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    options: dict[str, Any] = {}
    faults = []
    for name, values in params.lists():
        try:
            if name not in fields:
                raise Invalid("unknown_parameter", f"Unknown parameter. Known parameters: {', '.join(fields)}.")
            if len(values) != 1:
                raise Invalid("repeated", "Send this parameter once.")
            options[name] = _option(values[0], fields[name].type)
        except Invalid as fault:
            faults.append(FieldError(name, fault.code, fault.message))
        except msgspec.ValidationError as fault:
            faults.append(_field_error(name, fault))
    missing = [name for name, field in fields.items() if field.required and name not in params]
    faults += [FieldError(name, "required", "This parameter is required.") for name in missing]
    if faults:
        raise ValidationFailed(*faults)
    return model(**options)


def _option(raw: object, kind: Any) -> Any:
    """A value of a query string. Letter case does not matter in words. Raises msgspec.ValidationError."""
    try:
        return msgspec.convert(raw, kind, strict=False, dec_hook=build)
    except msgspec.ValidationError:
        lowered = str(raw).lower()
        if lowered == raw:
            raise
        return msgspec.convert(lowered, kind, strict=False, dec_hook=build)


def build(kind: type[Any], value: Any) -> Any:
    """A field type of Duely from a JSON value: these types have a class method `parse`."""
    return kind.parse(value)


def _parse(raw: bytes, max_keys: int) -> Any:
    """Read JSON strictly (RFC 8259): no NaN, no repeated keys, no deep nesting. Errors name the position.

    A byte order mark is ignored (section 8.1), because some editors and PowerShell write one.
    """
    raw = raw.removeprefix(BOM)
    if not raw:
        raise MalformedRequest("The body is empty. Send a JSON object.")
    openings = raw.count(b"[") + raw.count(b"{")
    if openings > max_keys:
        _refuse_many_parts(raw, max_keys)
    try:
        # Decoded here, because json.loads would also accept UTF-16 and UTF-32, which RFC 8259 does not allow.
        text = raw.decode("utf-8")
        document = STRICT.decode(text)
    except UnicodeDecodeError as fault:
        raise MalformedRequest(f"The body is not UTF-8: byte {fault.start} is wrong.") from None
    except json.JSONDecodeError as fault:
        where = f"line {fault.lineno} column {fault.colno} (character {fault.pos})"
        raise MalformedRequest(f"The body is not valid JSON: {fault.msg} at {where}.") from None
    except (RecursionError, ValueError) as fault:
        reason = "it is nested too deeply" if isinstance(fault, RecursionError) else "a number in it is too long"
        raise MalformedRequest(f"The body cannot be read: {reason}.") from None
    if not isinstance(document, dict):
        raise MalformedRequest("The body must be a JSON object.")
    if openings > MAX_DEPTH or raw.count(b":") > max_keys:  # otherwise both are within their limits
        depth, keys = _measure(document)
        if depth > MAX_DEPTH:
            raise MalformedRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")
        if keys > max_keys:
            raise MalformedRequest(f"The objects of the body have {keys} keys together; {max_keys} are allowed.")
    if "\\u" in text:
        refuse_lone_surrogates(document)
    return document


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string without an end reaches to the end of the body. So each byte is looked at only once, in linear time."""


def _refuse_many_parts(raw: bytes, limit: int) -> None:
    """Refuse a body with too many objects and lists. A mebibyte of brackets would take a second to parse."""
    without_strings = _STRING.sub(b"", raw)
    parts = without_strings.count(b"[") + without_strings.count(b"{")
    if parts > limit:
        raise MalformedRequest(f"The body has {parts} objects and lists; {limit} are allowed.")


def refuse_lone_surrogates(document: Any) -> None:
    """Refuse half of a surrogate pair, written as an escape: databases and answers cannot hold it."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedRequest("The body contains text that is not valid Unicode: half of a surrogate pair.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedRequest(f"The body contains the key {name!r} twice in one object.")
            seen.add(name)
    return members


def _no_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"The body contains {name}, which is not JSON.")


STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
"""A decoder of JSON as in RFC 8259, without the extensions that Python accepts."""


def _measure(document: Any) -> tuple[int, int]:
    """The depth of a document, and the number of keys of all its objects."""
    # Level by level instead of recursively: a deep document would exceed Python's recursion limit.
    depth, keys, level = 0, 0, [document]
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            children: Iterable[Any] = item
            if isinstance(item, dict):
                keys += len(item)
                children = item.values()
            inner.extend(child for child in children if isinstance(child, dict | list))
        level = inner
    return depth, keys


def _explain(document: dict[str, Any], model: type[msgspec.Struct], error: msgspec.ValidationError) -> NoReturn:
    """Check each field and raise ValidationFailed with all faults. Runs for invalid bodies only, so it may be slow."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    known = [model.__struct_config__.tag_field, *fields] if model.__struct_config__.tag_field else [*fields]
    faults = [
        FieldError(name, "unknown_field", f"Unknown field. Known fields: {', '.join(known)}.")
        for name in document
        if name not in known
    ]
    for name, field in fields.items():
        if name not in document:
            if field.required:
                faults.append(FieldError(name, "required", "This field is required."))
            continue
        try:
            msgspec.convert(document[name], field.type, strict=True, dec_hook=build)
        except msgspec.ValidationError as fault:
            faults.append(_field_error(name, fault))
    raise ValidationFailed(*(faults or [_field_error("", error)]))


_AT = re.compile(r" - at `\$(?P<path>.*)`$")
_CODES = (
    ("Expected `str` of length <=", "too_long"),
    ("Expected `array` of length <=", "too_many"),
    ("Expected `str` of length >=", "too_short"),
    ("Expected `str` matching", "invalid_format"),
    ("Expected `int` <=", "out_of_range"),
    ("Expected `int` >=", "out_of_range"),
    ("Invalid enum value", "invalid_choice"),
    ("Invalid RFC3339", "invalid_datetime"),
    ("Expected `datetime` with a timezone", "invalid_datetime"),
    ("Invalid UUID", "invalid_id"),
    ("Expected", "invalid_type"),
)


def _field_error(name: str, fault: msgspec.ValidationError) -> FieldError:
    cause = fault.__cause__
    text = str(fault)
    path = ""
    position = _AT.search(text)
    if position is not None:
        path = position["path"].replace("[...]", "")
        text = text[: position.start()]
    if isinstance(cause, Invalid):
        return FieldError(name + path, cause.code, cause.message)
    code = next((code for start, code in _CODES if text.startswith(start)), "invalid")
    return FieldError(name + path, code, text.replace("`", "") + ".")
