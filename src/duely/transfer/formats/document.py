"""A JSON text of any length, of which only one value is held at a time."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from duely.api.bodies import STRICT, refuse_lone_surrogates
from duely.core.errors import MalformedRequest

CHUNK = 64 * 1024
MAX_VALUE = 1024 * 1024
"""Characters of one value."""
LONGEST_SIGN = 16
"""Characters in which an escape or a word may be cut off: `\\ud83d\\ude00`, `-Infinity`."""
_BLANK = re.compile(r"[ \t\r\n]*")


class Document:
    """Goes through the outer objects and lists of a file, and reads what is in them value by value (RFC 8259).

    Whoever is given a name by `fields` or a number by `items` goes on through that value, or takes it, or skips it,
    before the next one. Raises MalformedRequest (400) for what is not JSON.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
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
                seen.add(name)
                self._take(":")
                yield name
                if self._take(",", "}") == "}":
                    return

    def items(self) -> Iterator[int]:
        """The places in a list, from 0. null is a list with nothing in it."""
        if self._next() == "n" and self.value() is None:
            return
        if self._opens("[", "]"):
            number = 0
            while True:
                yield number
                number += 1
                if self._take(",", "]") == "]":
                    return

    def value(self) -> Any:
        """A value as a whole, up to MAX_VALUE."""
        self._next()
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
                if len(self._held) - end > 2 or self._is_whole:
                    self._at = end
                    return found
            if len(self._held) - self._at > MAX_VALUE:
                raise self._wrong(f"a value is longer than {MAX_VALUE} characters")
            self._fill()

    def skip(self) -> None:
        """Leave out a value; a list of any length."""
        if self._next() == "[":
            for _ in self.items():
                self.value()
        else:
            self.value()

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

    def _fill(self) -> None:
        chunk = self._file.read(CHUNK)
        self._is_whole = not chunk
        try:
            text = self._decoder.decode(chunk, final=self._is_whole)
        except UnicodeDecodeError:
            raise MalformedRequest("The file is not UTF-8.") from None
        self._before += self._at
        self._held = self._held[self._at :] + text
        self._at = 0

    def _wrong(self, reason: str, at: int | None = None) -> MalformedRequest:
        place = self._before + (self._at if at is None else at)
        return MalformedRequest(f"The file is not valid JSON: {reason} at character {place}.")
