"""Tables as CSV: lines, cells and columns, whatever they stand for."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from duely.core.errors import MalformedRequest
from duely.transfer.reading import Reading, Record

DELIMITERS = ",;\t|"
MAX_ROW = 1024 * 1024
"""Characters of a row."""
HEAD_ROWS = 12
"""Rows in which a header is looked for."""
CHECKED_ROWS = 256
"""After so many rows the work done so far is checked."""
IsHeader = Callable[[Sequence[str]], bool]
Check = Callable[[], None]
"""Raises when reading takes too long (`Reading.check`)."""
_SEPARATOR = "sep="
"""The first line that Excel writes to say what separates its cells."""


def lines(file: BinaryIO, check: Check) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of each line that is not empty; the first one has number 1. Raises MalformedRequest (400)."""
    file.seek(0)
    begins = file.read(2)
    file.seek(0)
    is_utf16 = begins in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = io.TextIOWrapper(file, encoding="utf-16" if is_utf16 else "utf-8-sig", newline="")
    try:
        head = "\n"
        while head and not head.strip(f"{DELIMITERS} \r\n"):
            head = text.readline(MAX_ROW)
        is_named = head[:4].lower() == _SEPARATOR and head[4:5] in DELIMITERS
        delimiter = head[4] if is_named else max(DELIMITERS, key=head.count)
        text.seek(0)
        source = _Source(text)
        rows = csv.reader(source, delimiter=delimiter, strict=True)
        for number, cells in enumerate(rows, start=1):
            source.taken = 0
            if number % CHECKED_ROWS == 0:
                check()
            if any(cell.strip() for cell in cells):
                if is_named and "".join(cells).strip().lower() == _SEPARATOR:
                    is_named = False
                else:
                    yield number, cells
    except UnicodeDecodeError:
        raise MalformedRequest("The file is not UTF-8. Save it as CSV in UTF-8.") from None
    except csv.Error as fault:
        raise MalformedRequest(f"The file is not CSV: {fault}.") from None
    finally:
        if not file.closed:
            text.detach()


class _Source:
    """The lines of a text, as long as a row of several is not too long."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.text = text
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        while line := self.text.readline(MAX_ROW):
            self.taken += len(line)
            if self.taken >= MAX_ROW:
                raise MalformedRequest(f"A row is longer than {MAX_ROW} characters.")
            yield line


def header(file: BinaryIO, check: Check, is_header: IsHeader = lambda _: True) -> tuple[int, list[str]]:
    """(number, cells) of the first of the first rows that is a header; (0, no cells) when none is."""
    for place, (number, cells) in enumerate(lines(file, check)):
        if place >= HEAD_ROWS:
            break
        if is_header(cells):
            return number, cells
    return 0, []


def column_names(cells: Sequence[str]) -> list[str]:
    """A name for each column of a header, none of them twice. A column without one is called by its place."""
    names: dict[str, None] = {}
    for place, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column {place}"
        while name in names:
            name = f"{name} (column {place})"
        names[name] = None
    return list(names)


def records(
    file: BinaryIO,
    reading: Reading,
    *,
    after: int,
    names: Sequence[str],
    defaults: Mapping[str, str] | None = None,
    internal: frozenset[str] = frozenset(),
) -> Iterator[tuple[int, list[str], Record]]:
    """(number, cells, record) of each row below the header. What a record still holds at the next one is noted.

    after: the number of the header's row. Cells beyond the header are called by their places.
    """
    for number, cells in lines(file, reading.check):
        if number <= after:
            continue
        values = dict(zip(names, cells, strict=False))
        for place in range(len(names), len(cells)):
            values[f"column {place + 1}"] = cells[place]
        record = Record(values, f"rows[{number}]", reading, "", defaults, internal)
        yield number, cells, record
        record.finish()
