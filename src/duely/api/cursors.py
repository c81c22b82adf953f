"""Cursors of pages: the ordering values of the last row, signed, and the condition for the rows behind it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import Q

from duely.core import keys
from duely.core.errors import InvalidCursor

SIGNATURE_BYTES = 16


class OrderTerm(NamedTuple):
    """One term of an ordering."""

    column: str
    descending: bool
    nullable: bool


def keyset_parts(
    order: tuple[OrderTerm, ...], after: tuple[Any, ...] | None
) -> Iterator[tuple[Q, tuple[OrderTerm, ...]]]:
    """The rows behind the one with these values, in parts that follow each other: the condition and order of each part.

    Rows without a value come last. No index has them last in both directions, so they are a part of their own, except
    on the first page of an ascending order, which is the order of the index (decision 0022). They are also ordered by
    the column in which all of them are null. Otherwise PostgreSQL may search them along the primary key, past all rows
    that other users have created since.
    """
    first, *rest = order
    if after is None and not (first.nullable and first.descending):
        yield Q(), order
        return
    if after is not None and not first.nullable:
        yield _after(order, after), order
        return
    order = (first._replace(nullable=False), *rest)
    with_value, without_value = Q((f"{first.column}__isnull", False)), Q((f"{first.column}__isnull", True))
    if after is None:
        yield with_value, order
        yield without_value, order
    elif after[0] is not None:
        yield with_value & _after(order, after), order
        yield without_value, order
    else:
        yield without_value & _after(rest, after[1:]), order


def _after(order: Sequence[OrderTerm], values: Sequence[Any]) -> Q:
    """The rows behind the one with these values. Rows without a value come last in both directions."""
    behind = Q()
    equal = Q()
    for term, value in zip(order, values, strict=True):
        if value is not None:
            further = Q((f"{term.column}__{'lt' if term.descending else 'gt'}", value))
            if term.nullable:
                further |= Q((f"{term.column}__isnull", True))
            behind |= equal & further
            equal &= Q((term.column, value))
        else:
            equal &= Q((f"{term.column}__isnull", True))
    first, value = order[0], values[0]
    if value is not None and not first.nullable:
        # The same condition again, in a form for which databases use an index on the first column.
        behind &= Q((f"{first.column}__{'lte' if first.descending else 'gte'}", value))
    return behind


def list_fingerprint(*parts: object) -> bytes:
    """A digest of all that a cursor depends on: list, user, ordering and filters."""
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).digest()[:8]


def write_cursor(position: Sequence[Any], fingerprint: bytes) -> str:
    """A signed, opaque cursor that points behind the row with these ordering values."""
    payload = fingerprint + msgspec.msgpack.encode(list(position))
    signature = hmac.digest(keys.current_key("cursor"), payload, "sha256")[:SIGNATURE_BYTES]
    return _opaque(signature + payload)


def _opaque(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_cursor(text: str, fingerprint: bytes, width: int) -> tuple[Any, ...]:
    """The ordering values in a cursor. Raises InvalidCursor (400) if it is forged or belongs to another list."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        # Base64 has several texts for the same bytes. Only the one that `write_cursor` makes is accepted.
        if _opaque(data) != text:
            raise ValueError(text)
    except (binascii.Error, ValueError):
        raise InvalidCursor("This is not a cursor. Use `next_cursor` of the previous page.") from None
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    valid_signatures = (hmac.digest(key, payload, "sha256")[:SIGNATURE_BYTES] for key in keys.accepted_keys("cursor"))
    if not any(hmac.compare_digest(signature, valid) for valid in valid_signatures):
        raise InvalidCursor("This cursor is not from this server. Use `next_cursor` of the previous page.")
    if payload[:8] != fingerprint:
        raise InvalidCursor("This cursor belongs to another ordering, filter or user. Start again without a cursor.")
    values = msgspec.msgpack.decode(payload[8:])
    # The last term of every ordering is the id, which MessagePack stores as text.
    return (*values[: width - 1], UUID(values[width - 1]))
