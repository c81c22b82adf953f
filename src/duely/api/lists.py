"""Lists: filters, ordering, pages by cursor and by number, and the choice of fields.

A module declares a `Listing`; an endpoint passes it the rows that the caller may see.
Pages by cursor are keyset pages: the cursor contains the ordering values of the last row. So page 10,000 costs as much
as page 1, and rows that are inserted between two requests neither repeat nor hide other rows.

A page has at most MAX_PAGE_BYTES, unless it has one row only (decision 0035). A page by cursor ends before the first
row that does not fit. A page by number is refused, because the later pages would have other numbers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from typing import Any, ClassVar, Protocol

import msgspec
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.expressions import Combinable, OrderBy
from django.http import QueryDict

from duely.api.bodies import Invalid, is_plain
from duely.api.cursors import OrderTerm, keyset_parts, list_fingerprint, read_cursor, write_cursor
from duely.api.filters import Filter, Order
from duely.api.page_sizes import MAX_PAGE_BYTES, ShortText, SizeInBytes, full_after, number_fitting
from duely.api.types import reference
from duely.core.actor import Actor
from duely.core.clock import as_shown
from duely.core.errors import FieldError, PageTooLarge, ValidationFailed
from duely.database.compiled import NotCompilable, Rows, Visible

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
MAX_DEPTH = 10_000
MAX_ORDERINGS = 4


class CursorPage(msgspec.Struct, frozen=True):
    """The position of a page by cursor, and how to get the next one."""

    next_cursor: str | None
    has_more: bool
    limit: int
    total_returned: int


class NumberedPage(msgspec.Struct, frozen=True):
    """The position of a numbered page."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_more: bool
    total_returned: int


class Pagination:
    """CursorPage or NumberedPage, as a field of a page's struct: msgspec has no unions of plain structs."""

    schema: ClassVar[dict[str, Any]] = {"anyOf": [reference(CursorPage), reference(NumberedPage)]}


class Meta(msgspec.Struct, frozen=True):
    """Information about the answer."""

    version: str = "1.0"


@dataclass(slots=True)
class ListQuery:
    """The checked query string of a list."""

    where: list[Q] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    after: tuple[Any, ...] | None = None
    fingerprint: bytes = b""
    limit: int = DEFAULT_LIMIT
    page: int | None = None
    fields: frozenset[str] | None = None
    search: "Search | None" = None
    show: "Show | None" = None


Show = Callable[[tuple[Any, ...]], msgspec.Struct]
"""Turns the columns of a row into the struct of an answer."""


class Search(Protocol):
    """A checked search, which filters a queryset."""

    def __call__(self, rows: QuerySet[Any, Any], *, counted: bool) -> QuerySet[Any, Any]:
        """The rows that match. counted: all matches will be counted; otherwise only the first ones will be read."""
        ...


class Reading(Enum):
    """How a statement reads `Listing.long` columns."""

    SHORT = "null in place of values over SHORT_BYTES"
    SIZES = "the sizes in bytes of these columns, and no other columns"
    COMPLETE = "complete values"


ReadRows = Callable[[Reading, int], Sequence[tuple[Any, ...]]]
"""Reads the first rows of a page, up to this number."""


@dataclass(frozen=True)
class Listing:
    """The declaration of one list: its columns, filters, orderings and search.

    columns: the columns that are read. show: makes the struct `item` from a tuple of them, whose instants are text.
    Rows are never model instances, which would take most of a list's time (decision 0019).
    show_to: makes the `show` of one caller, if callers see different values of the same row.
    costly: columns that are expensive to read, with the expression that reads each. If `fields` does not name one, it
    is not read, and its value is None. A costly column makes the field of its own name only.
    long: the costly columns whose values may be too long for a page of them to fit into an answer.
    search: parses the parameter `search`, or raises Invalid. None for a list without full-text search.
    """

    name: str
    item: type[msgspec.Struct]
    columns: tuple[str, ...]
    show: Show
    filters: tuple[Filter, ...]
    orderings: Mapping[str, Order]
    default_order: str
    search: Callable[[str, Actor], Search] | None = None
    show_to: Callable[[Actor], Show] | None = None
    costly: Mapping[str, str | Combinable] = field(default_factory=dict)
    long: tuple[str, ...] = ()

    @cached_property
    def conditions(self) -> dict[str, tuple[Filter, str]]:
        """The filter and suffix of each filter parameter."""
        return {
            name: (declared, name[len(declared.name) + 2 :])
            for declared in self.filters
            for name, _, _ in declared.parameters()
        }

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """The names that `fields` accepts."""
        return tuple(declared.encode_name for declared in msgspec.structs.fields(self.item))

    def read(
        self, unread: frozenset[str] = frozenset(), reading: Reading = Reading.COMPLETE
    ) -> tuple[str | Combinable, ...]:
        """What to select for `columns`, where these are left out."""
        long = self._long(unread)
        if reading is Reading.SIZES:
            return tuple(SizeInBytes(name) for name in long)
        shortened = {}
        if reading is Reading.SHORT:
            shortened = {name: ShortText(self.costly[name], SizeInBytes(name)) for name in long}
        reads = {**self.costly, **dict.fromkeys(unread, _NOTHING), **shortened}
        return tuple(reads.get(name, name) for name in self.columns)

    def _long(self, unread: frozenset[str]) -> list[str]:
        return [name for name in self.long if name not in unread]

    def _unread(self, query: ListQuery) -> frozenset[str]:
        """The costly columns that the query does not ask for."""
        return frozenset() if query.fields is None else frozenset(self.costly.keys() - query.fields)

    def parse(self, params: QueryDict, actor: Actor) -> ListQuery:
        """The checked query string. Raises ValidationFailed (400) with every fault, or InvalidCursor (400)."""
        query = ListQuery(show=self.show_to(actor) if self.show_to else None)
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
                    raise Invalid("unknown_parameter", f"Unknown parameter. Known parameters: {', '.join(self.known)}.")
            except Invalid as fault:
                # All faults are collected, so that a client can correct them at once.
                faults.append(FieldError(name, fault.code, fault.message))
        try:
            if order_text != self.default_order:
                query.order = self._order(order_text)
        except Invalid as fault:
            faults.append(FieldError("ordering", fault.code, fault.message))
        faults.extend(_choose_page(query, params, limit, page_size))
        if faults:
            raise ValidationFailed(*faults)
        # The user is part of the fingerprint, so that a cursor works for its own user only.
        query.fingerprint = list_fingerprint(self.name, str(actor.id), order_text, *sorted(bound))
        if "cursor" in params:
            query.after = read_cursor(str(params["cursor"]), query.fingerprint, len(query.order))
        return query

    @cached_property
    def arrays(self) -> frozenset[str]:
        """The query parameters with several values, which are separated by commas or repeat the parameter."""
        filters = (name for declared in self.filters for name, schema, _ in declared.parameters() if "items" in schema)
        return frozenset((*filters, "ordering", "fields"))

    def _given(self, params: QueryDict) -> Iterable[tuple[str, list[str]]]:
        """The query parameters by name. `status[]`, the form of lists in PHP and axios, is read as `status`."""
        if not any(name.endswith("[]") for name in params):  # nearly all requests
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
        """The order of a list without the parameter `ordering`."""
        return self._order(self.default_order)

    def _fields(self, raw: str) -> frozenset[str]:
        names = frozenset(raw.lower().split(","))
        unknown = sorted(names - set(self.field_names))
        if unknown:
            raise Invalid(
                "unknown_field", f"Unknown field {unknown[0]!r}. Known fields: {', '.join(self.field_names)}."
            )
        return names

    def _order(self, raw: str) -> tuple[OrderTerm, ...]:
        terms: dict[str, OrderTerm] = {}
        for part in raw.split(","):
            name = part.removeprefix("-").lower()
            if name not in self.orderings:
                raise Invalid(
                    "invalid_choice",
                    f"Use one of: {', '.join(self.orderings)}. Put - before a name for descending order.",
                )
            declared = self.orderings[name]
            terms.setdefault(name, OrderTerm(declared.column, part.startswith("-"), declared.nullable))
        if len(terms) > MAX_ORDERINGS:
            raise Invalid("too_many", f"Sort by at most {MAX_ORDERINGS} fields.")
        order = list(terms.values())
        if "id" in terms:  # ids are unique, so later terms have no effect
            return tuple(order[: order.index(terms["id"]) + 1])
        return (*order, OrderTerm("id", order[0].descending, nullable=False))

    def answer(self, rows: Visible | QuerySet[Any, Any], query: ListQuery) -> bytes:
        """One page as JSON.

        Executes one statement for a page by cursor and two for a numbered page. Long values need two more, a search one
        more. Raises PageTooLarge (400) for a numbered page of more than MAX_PAGE_BYTES.
        """
        if query.page is None:
            return self._cursor_page(rows, query)
        return self._numbered_page(_selected(rows, query), query, query.page)

    def _cursor_page(self, rows: Visible | QuerySet[Any, Any], query: ListQuery) -> bytes:
        if not isinstance(rows, Visible) or query.search is not None:
            rows = _selected(rows, query)
        # One row more than the limit shows whether there is another page.
        page_rows, limit = self._fitting(partial(self._after_cursor, rows, query), query, query.limit + 1)
        limit = min(limit, query.limit)
        width = len(self.columns)
        while True:
            items = self._items(page_rows[:limit], query)
            has_more = len(page_rows) > limit
            cursor = write_cursor(page_rows[limit - 1][width:], query.fingerprint) if has_more else None
            page = _encoded(items, CursorPage(cursor, has_more, query.limit, len(items)))
            if len(page) <= MAX_PAGE_BYTES or limit == 1:
                return page
            # The limit was an estimate by the long values alone. The encoded items show their true size.
            limit = min(number_fitting(items), limit - 1)

    def _numbered_page(self, selected: QuerySet[Any, Any], query: ListQuery, number: int) -> bytes:
        total = selected.count()
        start = (number - 1) * query.limit

        def read(reading: Reading, number_of_rows: int) -> Sequence[tuple[Any, ...]]:
            ordered = self._ordered(selected, query, query.order, reading)
            return self._as_shown(ordered[start : start + number_of_rows], reading)

        page_rows, limit = self._fitting(read, query, query.limit)
        items = self._items(page_rows, query)
        has_more = start + query.limit < total
        pages = -(-total // query.limit)  # rounded up
        page = _encoded(items, NumberedPage(number, query.limit, total, pages, has_more, len(items)))
        # A shorter page would shift the rows of all later pages.
        if (len(page) > MAX_PAGE_BYTES and len(items) > 1) or limit < query.limit:
            raise PageTooLarge(MAX_PAGE_BYTES)
        return page

    def _fitting(self, read: ReadRows, query: ListQuery, limit: int) -> tuple[Sequence[tuple[Any, ...]], int]:
        """At most `limit` rows, and how many of them fit into a page, judged by their long values.

        Reads one row more than fit, to show that there are more. Other long values are not read from the database: a
        hundred long descriptions are 39 MB (decision 0035).
        """
        rows = read(Reading.SHORT, limit)
        long_columns = [self.columns.index(name) for name in self._long(self._unread(query))]
        if not any(row[column] is None for column in long_columns for row in rows):
            return rows, limit
        sizes = [sum(row) for row in read(Reading.SIZES, limit)]
        number = full_after(sizes)
        if number >= len(sizes):
            number = limit
            rows = read(Reading.COMPLETE, limit)
        else:
            rows = read(Reading.COMPLETE, number + 1)
        # An escape in JSON makes up to six bytes of one byte. Each row is encoded alone, because together they may be
        # six times as large as a page.
        fitting = number_fitting(self._items(rows, query))
        return rows, min(number, fitting) if fitting < len(rows) else number

    def _items(self, rows: Sequence[tuple[Any, ...]], query: ListQuery) -> Sequence[Any]:
        width = len(self.columns)
        show = query.show or self.show
        items: Sequence[Any] = [show(row[:width]) for row in rows]
        return items if query.fields is None else [trimmed(item, query.fields) for item in items]

    def _after_cursor(
        self, rows: Visible | QuerySet[Any, Any], query: ListQuery, reading: Reading, limit: int
    ) -> Sequence[tuple[Any, ...]]:
        """The first rows behind the cursor: at least `limit`, or all that there are."""
        read_rows: list[tuple[Any, ...]] = []
        for where, order in keyset_parts(query.order, query.after):
            read_rows += self._part(rows, query, where, order, reading, limit)
            if len(read_rows) >= limit:
                break
        return read_rows

    def _part(
        self,
        rows: Visible | QuerySet[Any, Any],
        query: ListQuery,
        where: Q,
        order: tuple[OrderTerm, ...],
        reading: Reading,
        limit: int,
    ) -> Sequence[tuple[Any, ...]]:
        def finish(selected: Rows) -> Rows:
            return self._ordered(selected, query, order, reading)[:limit]

        if isinstance(rows, Visible):
            key = (self.name, self._unread(query), query.order, order, reading, limit)
            text_columns = 0 if reading is Reading.SIZES else len(self.columns)
            try:
                return rows.select((*query.where, where), key, finish, shown=text_columns)
            except NotCompilable:
                rows = _selected(rows, query)
        return self._as_shown(finish(rows.filter(where)), reading)

    def _as_shown(self, rows: QuerySet[Any, Any], reading: Reading) -> Sequence[tuple[Any, ...]]:
        """Rows whose shown instants are text, as `Visible.select` returns them."""
        if reading is Reading.SIZES:
            return list(rows)
        width = len(self.columns)
        return [(*as_shown(row[:width]), *row[width:]) for row in rows]

    def _ordered(
        self, rows: QuerySet[Any, Any], query: ListQuery, order: tuple[OrderTerm, ...], reading: Reading
    ) -> QuerySet[Any, Any]:
        positions = () if reading is Reading.SIZES else (term.column for term in query.order)
        columns = (*self.read(self._unread(query), reading), *positions)
        return rows.order_by(*map(_order_by, order)).values_list(*columns)


def _encoded(items: Sequence[Any], where: msgspec.Struct) -> bytes:
    return msgspec.json.encode({"data": items, "pagination": where, "meta": Meta()})


def _selected(rows: Visible | QuerySet[Any, Any], query: ListQuery) -> QuerySet[Any, Any]:
    selected = (rows.rows() if isinstance(rows, Visible) else rows).filter(*query.where)
    return selected if query.search is None else query.search(selected, counted=query.page is not None)


_NOTHING = Value(None, output_field=TextField())


def trimmed(item: msgspec.Struct, names: frozenset[str]) -> dict[str, Any]:
    """The fields of a struct with these names."""
    declared = msgspec.structs.fields(item)
    return {field.encode_name: getattr(item, field.name) for field in declared if field.encode_name in names}


def _single(values: Sequence[object]) -> str:
    if len(values) != 1:
        raise Invalid("repeated", "Send this parameter once. Separate several values with commas.")
    return str(values[0])


def _plain(raw: str) -> str:
    if not is_plain(raw):
        raise Invalid("invalid_format", "This value contains a control character or is not valid Unicode.")
    return raw


def _choose_page(query: ListQuery, params: QueryDict, limit: int | None, page_size: int | None) -> Iterator[FieldError]:
    """Decide between a page by cursor and a page by number. limit, page_size: the values of the request, or None.

    Clients that are generated from the OpenAPI document send the defaults `limit=20&page_size=20` with every request.
    So one of them with its default value decides nothing if the other one, `cursor` or `page` does (decision 0038).
    """
    is_default = limit is None or (limit == DEFAULT_LIMIT and page_size != DEFAULT_LIMIT)
    is_numbered = "page" in params or ("cursor" not in params and page_size is not None and is_default)
    used, unused = (page_size, limit) if is_numbered else (limit, page_size)
    query.limit = used or DEFAULT_LIMIT
    if unused not in (None, DEFAULT_LIMIT):
        yield FieldError("limit" if is_numbered else "page_size", "conflict", _EITHER)
    if not is_numbered:
        return
    if "cursor" in params:
        yield FieldError("cursor", "conflict", _EITHER)
    query.page = query.page or 1
    if query.page * query.limit > MAX_DEPTH:
        yield FieldError(
            "page", "out_of_range", f"Numbered pages reach up to row {MAX_DEPTH}. Use cursors beyond that."
        )


_EITHER = "Use either cursor and limit, or page and page_size."


def _bounded(raw: str, highest: int) -> int:
    if raw.isascii() and raw.isdigit() and len(raw) < 10 and 1 <= int(raw) <= highest:
        return int(raw)
    raise Invalid("out_of_range", f"Use a whole number from 1 to {highest}.")


def _order_by(term: OrderTerm) -> OrderBy:
    return OrderBy(F(term.column), descending=term.descending, nulls_last=term.nullable or None)
