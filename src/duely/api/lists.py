"""Lists: filters, ordering, pages by cursor and by number, and the choice of fields.

A module declares a `Listing`; an endpoint hands it a queryset of what the caller may see.
Pages by cursor are keyset pages: the cursor holds the ordering values of the last row, so that
page 10,000 costs what page 1 costs, and rows inserted meanwhile neither repeat nor hide others.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol
from uuid import UUID

import msgspec
from django.db.models import F, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import Combinable, OrderBy
from django.http import QueryDict

from duely.api.bodies import Invalid, is_plain
from duely.api.filters import Filter, Order
from duely.core import keys
from duely.core.actor import Actor
from duely.core.clock import as_shown
from duely.core.errors import FieldError, InvalidCursor, ValidationFailed
from duely.core.prepared import Rows, Seen, Unprepared

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
MAX_DEPTH = 10_000
MAX_ORDERINGS = 4
SIGNATURE_BYTES = 16


class CursorPage(msgspec.Struct, frozen=True):
    """Where this page of a list stands, by cursor."""

    next_cursor: str | None
    has_more: bool
    limit: int
    total_returned: int


class NumberedPage(msgspec.Struct, frozen=True):
    """Where this page of a list stands, by number."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_more: bool
    total_returned: int


class Pagination:
    """Either of the two, as a field of a page's struct: msgspec has no union of plain structs."""

    schema: ClassVar[dict[str, Any]] = {
        "anyOf": [msgspec.json.schema(kind)["$defs"][kind.__name__] for kind in (CursorPage, NumberedPage)]
    }


class Meta(msgspec.Struct, frozen=True):
    """About the answer itself."""

    version: str = "1.0"


class OrderTerm(NamedTuple):
    """One term of an ordering, as asked for."""

    column: str
    descending: bool
    nullable: bool


@dataclass(slots=True)
class ListQuery:
    """A list request, checked."""

    where: list[Q] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    after: tuple[Any, ...] | None = None
    fingerprint: bytes = b""
    limit: int = DEFAULT_LIMIT
    page: int | None = None
    fields: frozenset[str] | None = None
    search: "Search | None" = None


class Search(Protocol):
    """A search, checked: it leaves of some rows those that it finds."""

    def __call__(self, rows: QuerySet[Any, Any], *, counted: bool) -> QuerySet[Any, Any]:
        """counted: all of them will be counted, and not just the first ones looked at."""
        ...


@dataclass(frozen=True)
class Listing:
    """What one list offers.

    `columns` are what is read of each row, `show` turns such a tuple, its instants as text already, into the answer's
    struct `item`. Rows are never model instances: that is where most of a list's time would go.
    `costly` says how some of them are read, each of which makes the field of its name and no other: it is None where
    `fields` leaves that out.
    `search` reads the parameter of that name, where the list has full-text search, or raises Invalid.
    """

    name: str
    item: type[msgspec.Struct]
    columns: tuple[str, ...]
    show: Callable[[tuple[Any, ...]], msgspec.Struct]
    filters: tuple[Filter, ...]
    orderings: Mapping[str, Order]
    default_order: str
    search: Callable[[str, Actor], Search] | None = None
    costly: Mapping[str, str | Combinable] = field(default_factory=dict)

    @cached_property
    def conditions(self) -> dict[str, tuple[Filter, str]]:
        """Every filter parameter → its filter and suffix."""
        return {
            name: (declared, name[len(declared.name) + 2 :])
            for declared in self.filters
            for name, _, _ in declared.parameters()
        }

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """What `fields` may name."""
        return tuple(declared.encode_name for declared in msgspec.structs.fields(self.item))

    def read(self, unread: frozenset[str] = frozenset()) -> tuple[str | Combinable, ...]:
        """What to select for `columns`, where these are left out."""
        reads = {**self.costly, **dict.fromkeys(unread, _NOTHING)}
        return tuple(reads.get(name, name) for name in self.columns)

    def _unread(self, query: ListQuery) -> frozenset[str]:
        """The costly columns that this query does not show."""
        return frozenset() if query.fields is None else frozenset(self.costly.keys() - query.fields)

    def parse(self, params: QueryDict, actor: Actor) -> ListQuery:
        """Check the query string. Raises ValidationFailed with every fault, or InvalidCursor."""
        query = ListQuery()
        faults: list[FieldError] = []
        bound: list[tuple[str, str]] = []
        order_text = self.default_order
        query.order = self.default_terms
        limit = page_size = None
        for name, values in self._given(params):
            try:
                raw = _plain(",".join(values) if name in self.arrays else _single(values))
                if name in self.conditions:
                    declared, suffix = self.conditions[name]
                    query.where.append(declared.condition(suffix, raw, actor))
                    bound.append((name, raw))
                elif name == "search" and self.search is not None:
                    query.search = self.search(raw, actor)
                    bound.append((name, raw))
                elif name == "ordering":
                    order_text = raw
                elif name == "fields":
                    query.fields = self._fields(raw)
                elif name == "limit":
                    limit = _bounded(raw, MAX_LIMIT)
                elif name == "page_size":
                    page_size = _bounded(raw, MAX_LIMIT)
                elif name == "page":
                    query.page = _bounded(raw, MAX_DEPTH)
                elif name != "cursor":
                    raise Invalid("unknown_parameter", f"There is no such parameter. Known: {', '.join(self.known)}.")
            except Invalid as fault:
                faults.append(FieldError(name, fault.code, fault.message))
        try:
            if order_text != self.default_order:
                query.order = self._order(order_text)
        except Invalid as fault:
            faults.append(FieldError("ordering", fault.code, fault.message))
        faults.extend(_choose_page(query, params, limit, page_size))
        if faults:
            raise ValidationFailed(*faults)
        query.fingerprint = _fingerprint(self.name, str(actor.id), order_text, *sorted(bound))
        if "cursor" in params:
            query.after = read_cursor(str(params["cursor"]), query.fingerprint, len(query.order))
        return query

    @cached_property
    def arrays(self) -> frozenset[str]:
        """The query parameters that take several values, with commas between them or each by itself."""
        filters = (name for declared in self.filters for name, schema, _ in declared.parameters() if "items" in schema)
        return frozenset((*filters, "ordering", "fields"))

    def _given(self, params: QueryDict) -> Iterable[tuple[str, list[str]]]:
        """The query parameters by name. `status[]`, as PHP and axios write a list, is `status`."""
        if not any(name.endswith("[]") for name in params):
            return params.lists()
        merged: dict[str, list[str]] = {}
        for name, values in params.lists():
            plain = name.removesuffix("[]")
            merged.setdefault(plain if plain in self.arrays else name, []).extend(values)
        return merged.items()

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Every query parameter of this list."""
        searched = ("search",) if self.search else ()
        return (*self.conditions, *searched, "ordering", "fields", "limit", "cursor", "page", "page_size")

    @cached_property
    def default_terms(self) -> tuple[OrderTerm, ...]:
        """The order of a list that was asked for none."""
        return self._order(self.default_order)

    def _fields(self, raw: str) -> frozenset[str]:
        names = frozenset(raw.lower().split(","))
        if unknown := sorted(names - set(self.field_names)):
            raise Invalid("unknown_field", f"No such field: {unknown[0]!r}. Known: {', '.join(self.field_names)}.")
        return names

    def _order(self, raw: str) -> tuple[OrderTerm, ...]:
        terms: dict[str, OrderTerm] = {}
        for part in raw.split(","):
            name = part.removeprefix("-").lower()
            if name not in self.orderings:
                raise Invalid("invalid_choice", f"Order by: {', '.join(self.orderings)}; with - for descending.")
            declared = self.orderings[name]
            terms.setdefault(name, OrderTerm(declared.column, part.startswith("-"), declared.nullable))
        if len(terms) > MAX_ORDERINGS:
            raise Invalid("too_many", f"Order by at most {MAX_ORDERINGS} fields.")
        order = list(terms.values())
        if "id" in terms:  # unique, so nothing behind it counts
            return tuple(order[: order.index(terms["id"]) + 1])
        return (*order, OrderTerm("id", order[0].descending, nullable=False))

    def answer(self, rows: Seen | QuerySet[Any, Any], query: ListQuery) -> bytes:
        """One page as JSON. Costs one statement; by page number, two; a search has a statement of its own before."""
        if query.page is None:
            found = self._after_cursor(rows, query)
            shown = found[: query.limit]
            more = len(found) > query.limit
            position = found[query.limit - 1][len(self.columns) :] if more else ()
            cursor = write_cursor(position, query.fingerprint) if more else None
            where: msgspec.Struct = CursorPage(cursor, more, query.limit, len(shown))
        else:
            selected = _selected(rows, query)
            total = selected.count()
            start = (query.page - 1) * query.limit
            shown = self._as_shown(self._ordered(selected, query, query.order)[start : start + query.limit])
            where = NumberedPage(
                query.page, query.limit, total, -(-total // query.limit), start + query.limit < total, len(shown)
            )
        width = len(self.columns)
        items: Sequence[Any] = [self.show(row[:width]) for row in shown]
        if query.fields is not None:
            items = [trimmed(item, query.fields) for item in items]
        return msgspec.json.encode({"data": items, "pagination": where, "meta": Meta()})

    def _after_cursor(self, rows: Seen | QuerySet[Any, Any], query: ListQuery) -> Sequence[tuple[Any, ...]]:
        """The rows of a page and, where there are more, one or some that are too many."""
        if not isinstance(rows, Seen) or query.search is not None:
            rows = _selected(rows, query)
        found: list[tuple[Any, ...]] = []
        for where, order in _parts(query.order, query.after):
            found += self._part(rows, query, where, order)
            if len(found) > query.limit:
                break
        return found

    def _part(
        self, rows: Seen | QuerySet[Any, Any], query: ListQuery, where: Q, order: tuple[OrderTerm, ...]
    ) -> Sequence[tuple[Any, ...]]:
        def finish(selected: Rows) -> Rows:
            return self._ordered(selected, query, order)[: query.limit + 1]

        if isinstance(rows, Seen):
            key = (self.name, self._unread(query), query.order, order, query.limit)
            try:
                return rows.select((*query.where, where), key, finish, shown=len(self.columns))
            except Unprepared:
                rows = _selected(rows, query)
        return self._as_shown(finish(rows.filter(where)))

    def _as_shown(self, rows: QuerySet[Any, Any]) -> list[tuple[Any, ...]]:
        """With instants as text in the columns that are shown, as `Seen.select` gives them."""
        width = len(self.columns)
        return [(*as_shown(row[:width]), *row[width:]) for row in rows]

    def _ordered(self, rows: QuerySet[Any, Any], query: ListQuery, order: tuple[OrderTerm, ...]) -> QuerySet[Any, Any]:
        columns = (*self.read(self._unread(query)), *(term.column for term in query.order))
        return rows.order_by(*map(_order_by, order)).values_list(*columns)


def _selected(rows: Seen | QuerySet[Any, Any], query: ListQuery) -> QuerySet[Any, Any]:
    selected = (rows.rows() if isinstance(rows, Seen) else rows).filter(*query.where)
    return selected if query.search is None else query.search(selected, counted=query.page is not None)


_NOTHING = Value(None, output_field=TextField())


def trimmed(item: msgspec.Struct, names: frozenset[str]) -> dict[str, Any]:
    """Only these fields of a struct."""
    declared = msgspec.structs.fields(item)
    return {field.encode_name: getattr(item, field.name) for field in declared if field.encode_name in names}


def _single(values: Sequence[object]) -> str:
    if len(values) != 1:
        raise Invalid("repeated", "Give this parameter once; put commas between several values.")
    return str(values[0])


def _plain(raw: str) -> str:
    if not is_plain(raw):
        raise Invalid("invalid_format", "This value holds a control character or is not Unicode.")
    return raw


def _choose_page(query: ListQuery, params: QueryDict, limit: int | None, page_size: int | None) -> Iterator[FieldError]:
    """Decide between a page by cursor and a page by number. limit, page_size: as the request gives them.

    Clients made from the OpenAPI document send `limit=20&page_size=20` with every request: the defaults that it names.
    So one at its default says nothing while the other is there or `cursor` or `page` decides (decision 0038).
    """
    is_default = limit is None or (limit == DEFAULT_LIMIT and page_size != DEFAULT_LIMIT)
    is_numbered = "page" in params or ("cursor" not in params and page_size is not None and is_default)
    chosen, other = (page_size, limit) if is_numbered else (limit, page_size)
    query.limit = chosen or DEFAULT_LIMIT
    if other not in (None, DEFAULT_LIMIT):
        yield FieldError("limit" if is_numbered else "page_size", "conflict", _EITHER)
    if not is_numbered:
        return
    if "cursor" in params:
        yield FieldError("cursor", "conflict", _EITHER)
    query.page = query.page or 1
    if query.page * query.limit > MAX_DEPTH:
        yield FieldError("page", "out_of_range", f"Pages reach {MAX_DEPTH} rows deep; use cursors beyond.")


_EITHER = "Use either cursor and limit, or page and page_size."


def _bounded(raw: str, highest: int) -> int:
    if raw.isascii() and raw.isdigit() and len(raw) < 10 and 1 <= int(raw) <= highest:
        return int(raw)
    raise Invalid("out_of_range", f"Use a whole number from 1 to {highest}.")


def _order_by(term: OrderTerm) -> OrderBy:
    nulls = {"nulls_last": True} if term.nullable else {}
    return F(term.column).desc(**nulls) if term.descending else F(term.column).asc(**nulls)


def _parts(order: tuple[OrderTerm, ...], after: tuple[Any, ...] | None) -> Iterator[tuple[Q, tuple[OrderTerm, ...]]]:
    """The rows behind the one with these values, as parts that follow each other: of each a condition and its order.

    An index keeps the rows without a value at one end. So they are a part of their own, but for the first page in
    ascending order: just as an index has it. They are ordered by that column too, though all have the same: else
    PostgreSQL may look for them along the primary key, past what others have made since.
    """
    first, *rest = order
    if not first.nullable or (after is None and not first.descending):
        yield (Q() if after is None else _after(order, after)), order
        return
    order = (first._replace(nullable=False), *rest)
    if after is None or after[0] is not None:
        yield Q((f"{first.column}__isnull", False)) & (Q() if after is None else _after(order, after)), order
    behind = _after(rest, after[1:]) if after is not None and after[0] is None else Q()
    yield Q((f"{first.column}__isnull", True)) & behind, order


def _after(order: Sequence[OrderTerm], values: Sequence[Any]) -> Q:
    """The rows behind the one with these values, nulls last in both directions."""
    behind = Q()
    same = Q()
    for term, value in zip(order, values, strict=True):
        if value is not None:
            further = Q((f"{term.column}__{'lt' if term.descending else 'gt'}", value))
            if term.nullable:
                further |= Q((f"{term.column}__isnull", True))
            behind |= same & further
            same &= Q((term.column, value))
        else:
            same &= Q((f"{term.column}__isnull", True))
    first, value = order[0], values[0]
    if value is not None and not first.nullable:
        # Says the same again in a form that an index on the first column can use.
        behind &= Q((f"{first.column}__{'lte' if first.descending else 'gte'}", value))
    return behind


def _fingerprint(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).digest()[:8]


def write_cursor(position: Sequence[Any], fingerprint: bytes) -> str:
    """A signed, opaque cursor behind a row with these ordering values."""
    payload = fingerprint + msgspec.msgpack.encode(list(position))
    signature = hmac.digest(keys.current_key("cursor"), payload, "sha256")[:SIGNATURE_BYTES]
    return _opaque(signature + payload)


def _opaque(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_cursor(text: str, fingerprint: bytes, width: int) -> tuple[Any, ...]:
    """The ordering values in a cursor. Raises InvalidCursor unless it is ours and for this very list."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if _opaque(data) != text:
            raise ValueError(text)
    except (binascii.Error, ValueError):
        raise InvalidCursor("This is not a cursor. Take `next_cursor` of the page before.") from None
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    expected = (hmac.digest(key, payload, "sha256")[:SIGNATURE_BYTES] for key in keys.accepted_keys("cursor"))
    if not any(hmac.compare_digest(signature, good) for good in expected):
        raise InvalidCursor("This cursor was not made here. Take `next_cursor` of the page before.")
    if payload[:8] != fingerprint:
        raise InvalidCursor("This cursor belongs to another ordering or filter. Start again without a cursor.")
    values = msgspec.msgpack.decode(payload[8:])
    return (*values[: width - 1], UUID(values[width - 1]))


def model_columns(model: type[Model]) -> tuple[str, ...]:
    """The names of all columns of a model, foreign keys as their ids."""
    return tuple(column.attname for column in model._meta.concrete_fields)
