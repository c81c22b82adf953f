"""A JSON text of any length, of which only one value is held at a time."""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from duely.api.bodies import STRICT, refuse_lone_surrogates
from duely.core.errors import FieldError, MalformedRequest
from duely.transfer.reading import MAX_EXAMPLE, Reading, Record
from duely.transfer.rules import Faulty

CHUNK = 64 * 1024
MAX_VALUE = 1024 * 1024
"""Characters of one value."""
MAX_SKIPPED = 128 * 1024
"""Characters up to which a value that is skipped is decoded as a whole. A longer one is skipped part by part."""
MAX_MEMBER = 64 * 1024
"""Characters of one member of an object whose other members are records. A longer one is skipped and noted."""
MAX_NAMES = 600_000
"""Names in one object: more than a file may have tasks."""
MAX_DESCENT = 8
"""Levels down to which a value may be longer than MAX_VALUE."""
LONGEST_SIGN = 16
"""Characters in which an escape or a word may be cut off: `\\ud83d\\ude00`, `-Infinity`."""
_BLANK = re.compile(r"[ \t\r\n]*+")
_RUN = re.compile(
    r'(?:(?:"[^"\\\x00-\x1f]*+"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|\[\]|\{\})'
    r"[ \t\r\n]*+,[ \t\r\n]*+)*+"
)
"""Items of a list that need no decoder, each with its comma: a long list that is skipped is mostly these."""


class _TooLong(MalformedRequest):
    """A value is longer than it may be. Nothing of it was taken."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a format has to say of the records at one place.

    label: stands before the names of fields in notes. defaults: values that mean "not set" there. internal: fields that
    only mean something there. place: what the place is called in faults, where the names do not say it.
    """

    label: str = ""
    defaults: Mapping[str, Any] | None = None
    internal: frozenset[str] = frozenset()


Path = tuple[str, ...]
"""Names on the way to a value; `ITEM` stands for each item of a list, `MEMBER` for each member of an object."""
ITEM, MEMBER = "[]", "*"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a document.

    path: as the format asked for it. keys: the numbers and names that `ITEM` and `MEMBER` stand for.
    """

    path: Path
    keys: tuple[str, ...]
    record: Record


class Document:
    """Goes through the outer objects and lists of a file, and reads what is in them value by value (RFC 8259).

    Whoever is given a name by `fields` or a number by `items` goes on through that value, or takes it, or skips it,
    before the next one. Raises MalformedRequest (400) for what is not JSON.
    """

    def __init__(self, file: BinaryIO, check: Callable[[], None] = lambda: None) -> None:
        file.seek(0)
        self._file = file
        self._check = check
        self._decoder: codecs.IncrementalDecoder | None = None
        self._held = ""
        self._at = 0
        self._before = 0
        self._is_whole = False

    def fields(self) -> Iterator[str]:
        """The names in an object."""
        if self._opens("{", "}"):
            seen: set[str] = set()
            while True:
                name = self.value()
                if not isinstance(name, str):
                    raise self._wrong("a name is expected")
                if name in seen:
                    raise self._wrong("a name comes twice in one object")
                if len(seen) >= MAX_NAMES:
                    raise self._wrong("an object has too many names")
                seen.add(name)
                self._take(":")
                yield name
                if self._take(",", "}") == "}":
                    return

    def items(self, most: int | None = None) -> Iterator[int]:
        """The places in a list, from 0; with `most`, the others are skipped. null is a list with no items."""
        if self._next() == "n" and self.value() is None:
            return
        if self._opens("[", "]"):
            number = 0
            while True:
                yield number
                number += 1
                if self._take(",", "]") == "]":
                    return
                if number == most:
                    self._skip_items(0)
                    return

    def value(self, most: int = MAX_VALUE) -> Any:
        """A value as a whole, up to so many characters."""
        self._next()
        size = CHUNK
        while True:
            try:
                found, end = STRICT.raw_decode(self._held, self._at)
                if self._held.find("\\u", self._at, end) >= 0:
                    refuse_lone_surrogates(found)
            except json.JSONDecodeError as fault:
                # Only what is cut off by the end of this piece may be whole in the next one.
                is_cut = fault.msg.startswith("Unterminated") or fault.pos + LONGEST_SIGN > len(self._held)
                if self._is_whole or not is_cut:
                    raise self._wrong(fault.msg, fault.pos) from None
            except (RecursionError, ValueError) as fault:
                deep = isinstance(fault, RecursionError)
                raise self._wrong("it is nested too deeply" if deep else "a number in it is too long") from None
            else:
                # A number may go on in the next piece, also when `.`, `e` or `e-` is the last of this one.
                if end - self._at <= most and (len(self._held) - end > 2 or self._is_whole):
                    self._at = end
                    return found
            if len(self._held) - self._at > most:
                raise _TooLong(self._wrong(f"a value is longer than {most} characters").detail)
            # Twice as much each time: what was decoded in vain stays in proportion to the value.
            self._fill(size)
            size *= 2

    def peek(self) -> str:
        """The first sign of the next value, which is not taken; "" at the end."""
        return self._next()

    def skip(self, level: int = 0) -> None:
        """Leave out a value. A list or an object may have any length."""
        sign = self._next()
        if sign not in ("[", "{") or level >= MAX_DESCENT:
            self.value()
            return
        try:
            self.value(MAX_SKIPPED)
        except _TooLong:
            if sign == "{":
                for _ in self.fields():
                    self.skip(level + 1)
            elif self._opens("[", "]"):
                self._skip_items(level)

    def skipped(self) -> str:
        """Leave out a value; returns how it begins."""
        self._next()
        if len(self._held) - self._at <= MAX_EXAMPLE and not self._is_whole:
            self._fill()
        begins = self._held[self._at : self._at + MAX_EXAMPLE + 1]
        before = self._before + self._at
        self.skip()
        return begins[: self._before + self._at - before]

    def _skip_items(self, level: int) -> None:
        """Skip the rest of a list, before an item of it."""
        while True:
            self._next()
            self._at = _RUN.match(self._held, self._at).end()  # type: ignore[union-attr]
            self.skip(level + 1)
            if self._take(",", "]") == "]":
                return

    def records(self, kinds: Mapping[Path, Kind], reading: Reading, root: str = "") -> Iterator[Entry | Faulty]:
        """The records of the whole document at the paths of `kinds`, in the order of the file.

        A path whose values hold other paths gives a record of its other members, after all that is in it. Every value
        that is in no record is noted, and so is what a record still holds when the next one is asked for. An item that
        is no object is a fault. root: what the outermost list is called.
        """
        inner = {path[:length] for path in kinds for length in range(len(path))}
        yield from self._records((), (), root, _Plan(kinds, inner, reading))
        self.end()

    def _records(self, path: Path, keys: tuple[str, ...], place: str, plan: "_Plan") -> Iterator[Entry | Faulty]:
        if path in plan.inner:
            yield from self._container(path, keys, place, plan)
            return
        values = self.value()
        if not isinstance(values, dict):
            yield Faulty((FieldError(place, "invalid_type", "Use an object."),))
            return
        yield from plan.record_at(path, keys, values, place)

    def _container(self, path: Path, keys: tuple[str, ...], place: str, plan: "_Plan") -> Iterator[Entry | Faulty]:
        if plan.has((*path, ITEM)):
            for number in self.items():
                yield from self._records((*path, ITEM), (*keys, str(number)), f"{place}[{number}]", plan)
            return
        if path not in plan.kinds and self._next() == "n" and self.value() is None:
            return
        members: dict[str, Any] = {}
        room = MAX_VALUE
        for name in self.fields():
            inside = f"{place}.{name}" if place else name
            if plan.has((*path, name)):
                yield from self._records((*path, name), keys, inside, plan)
            elif plan.has((*path, MEMBER)):
                yield from self._records((*path, MEMBER), (*keys, name), inside, plan)
            else:
                room -= self._member(path, name, members, min(room, MAX_MEMBER), inside, plan)
        yield from plan.record_at(path, keys, members, place)

    def _member(self, path: Path, name: str, members: dict[str, Any], most: int, place: str, plan: "_Plan") -> int:
        """Read a member that is no record and holds none; returns its length. A long one is skipped and noted."""
        self._next()
        begins_at = self._before + self._at
        try:
            members[name] = self.value(most)
        except _TooLong:
            plan.reading.note(plan.label(path) + name, "left_out", place=place, example=self.skipped())
            return 0
        return self._before + self._at - begins_at

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self._next():
            raise self._wrong("something follows after the end")

    def _opens(self, bracket: str, closing: str) -> bool:
        """Go into an object or a list; False when nothing is in it."""
        self._take(bracket)
        is_empty = self._next() == closing
        if is_empty:
            self._take(closing)
        return not is_empty

    def _take(self, *signs: str) -> str:
        sign = self._next()
        if sign not in signs:
            raise self._wrong(f"expected {' or '.join(signs)}")
        self._at += 1
        return sign

    def _next(self) -> str:
        """The next sign that is not white space, which is not taken; "" at the end."""
        while True:
            self._at = _BLANK.match(self._held, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._held):
                return self._held[self._at]
            if self._is_whole:
                return ""
            self._fill()

    def _fill(self, size: int | None = None) -> None:
        self._check()
        chunk = self._file.read(size or CHUNK)
        self._is_whole = not chunk
        if self._decoder is None:
            while 0 < len(chunk) < 2 and (more := self._file.read(1)):
                chunk += more
            is_utf16 = chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            self._decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")()
        try:
            text = self._decoder.decode(chunk, final=self._is_whole)
        except UnicodeDecodeError:
            raise MalformedRequest("The file is not UTF-8. Save it as UTF-8.") from None
        self._before += self._at
        self._held = self._held[self._at :] + text
        self._at = 0

    def _wrong(self, reason: str, at: int | None = None) -> MalformedRequest:
        place = self._before + (self._at if at is None else at)
        return MalformedRequest(f"The file is not valid JSON: {reason} at character {place}.")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a walk through a document looks for."""

    kinds: Mapping[Path, Kind]
    inner: set[Path]
    reading: Reading

    def label(self, path: Path) -> str:
        """What stands before the names of fields at a path in notes."""
        kind = self.kinds.get(path)
        return kind.label if kind else "".join(f"{name}." for name in path if name not in (ITEM, MEMBER))

    def has(self, path: Path) -> bool:
        """Whether there are records at a path, or below it."""
        return path in self.kinds or path in self.inner

    def record_at(self, path: Path, keys: tuple[str, ...], values: Mapping[str, Any], place: str) -> Iterator[Entry]:
        """A record for the reader, and then the notes on what the reader has left of it."""
        kind = self.kinds.get(path, Kind())
        record = Record(values, place, self.reading, self.label(path), kind.defaults, kind.internal)
        if path in self.kinds:
            yield Entry(path, keys, record)
        record.finish()
