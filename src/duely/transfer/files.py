"""Files that come in: told apart and opened."""

import codecs
import json
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import BinaryIO, cast

from duely.core.errors import BodyTooLarge, MalformedRequest
from duely.transfer.formats import FORMATS, outline
from duely.transfer.formats.base import Format, Member, Outline, Source
from duely.transfer.reading import Reading
from duely.transfer.rules import (
    MAX_DIRECTORY,
    MAX_MEMBERS,
    MAX_UNPACKED,
    UNPACKED_BASE,
    UNPACKED_PER_BYTE,
    Rows,
)

CHUNK = 64 * 1024
IN_MEMORY = 1024 * 1024
"""Larger files are on disk."""
BEGINNING = 64 * 1024
"""Bytes that tell JSON from a table."""
SEEN = 12
"""Names that are told of a file of no known kind."""


def temporary() -> BinaryIO:
    """A file that is gone when it is closed, on disk when it grows."""
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY))


class UnknownFormat(MalformedRequest):
    """The file is not of a kind that can be imported."""

    code = "unknown_format"
    title = "The kind of the file is not known."


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose format is known. `rows` reads it from the beginning each time."""

    format: Format
    rows: Callable[[Reading], Rows]


@contextmanager
def opened(file: BinaryIO, zone: str, now: datetime, reading: Reading | None = None) -> Iterator[Opened]:
    """A file by what is in it. Raises MalformedRequest (400), UnknownFormat (400), BodyTooLarge (413).

    zone: that of times without an offset. reading: what the work that finding out takes is counted in.
    """
    reading = reading or Reading()
    beginning = file.read(2)
    size = file.seek(0, 2)
    file.seek(0)
    if beginning == b"PK":
        with _archive(file) as archive:
            yield _opened(_members(archive, size), _left_out(archive), zone, now, reading)
    else:
        yield _opened((Member("", lambda: nullcontext(file)),), (), zone, now, reading)


def _opened(members: tuple[Member, ...], left_out: Sequence[str], zone: str, now: datetime, reading: Reading) -> Opened:
    kinds = [_recognised(member, reading) for member in members]
    format_, outline = kinds[0]
    for member, (other, _) in zip(members, kinds, strict=True):
        if other is not format_:
            raise UnknownFormat(
                f"The archive holds files of several kinds: {members[0].name[:100]} is of {format_.program}, "
                f"{member.name[:100]} of {other.program}. Send them one by one."
            )
    source = Source(members, outline, zone, now)

    def rows(reading: Reading) -> Rows:
        for name in left_out:
            reading.note("files", "left_out", place=name, example=name)
        return format_.read(source, reading)

    return Opened(format_, rows)


def _recognised(member: Member, reading: Reading) -> tuple[Format, Outline]:
    """The format of a file, and what was seen of it."""
    with member.open() as file:
        seen = _outline(file, reading)
    for format_ in FORMATS:
        if format_.recognises(seen):
            return format_, seen
    outer = [name.removeprefix("[].") for name in seen.names if "." not in name.removeprefix("[].") and name != "[]"]
    names = ", ".join(name[:40] for name in outer[:SEEN] if "[]" not in name[:40]) or "no names in it"
    raise _unknown(f"{'an object' if seen.kind == 'object' else 'a list'} with {names}")


def _unknown(seen: str) -> UnknownFormat:
    """The refusal of JSON that is no export. seen: what it is."""
    known = "; ".join(f"{format_.program}: {format_.export}" for format_ in FORMATS)
    return UnknownFormat(f"It is JSON: {seen}. Known kinds: {known}.")


def _outline(file: BinaryIO, reading: Reading) -> Outline:
    file.seek(0)
    beginning = file.read(BEGINNING)
    is_whole = not file.read(1)
    file.seek(0)
    is_utf16 = beginning[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    text = beginning.decode("utf-16" if is_utf16 else "utf-8-sig", "ignore")
    sign = text.lstrip(" \t\r\n")[:1]
    if sign in ("{", "["):
        return outline.of_document(file, reading)
    if is_whole and not text.strip():
        raise MalformedRequest("The file is empty.")
    if is_whole and _is_json(text):
        raise _unknown("a single value, such as a number or a text")
    return outline.of_table(file, _is_header, reading)


def _is_json(text: str) -> bool:
    """Whether a text that is no object and no list is one JSON value. NaN and Infinity count: programs write them."""
    try:
        # As texts: a number may be too large for Python.
        json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a row is the header of a table that is not just any."""
    seen = Outline("table", tuple(cell.strip() for cell in cells))
    return any(format_.recognises(seen) for format_ in FORMATS[:-1])


_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(RuntimeError, EOFError, ValueError, OSError),
)
"""What `zipfile` raises, of a file that can be read, for an archive that cannot. It promises only the first."""
_END = b"PK\x05\x06"
_END_OF_LARGE = b"PK\x06\x07"
_LONGEST_END = 22 + 65_535


@contextmanager
def _archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Raises MalformedRequest (400) for one that is broken, BodyTooLarge (413) for one with too many names in it."""
    _refuse_long_directory(file)
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as fault:
        raise _unreadable(fault) from None
    with archive:
        yield archive


def _refuse_long_directory(file: BinaryIO) -> None:
    """Before `zipfile` reads the directory as a whole. PKWARE's APPNOTE, section 4.3.16."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _LONGEST_END))
    end = file.read()
    file.seek(0)
    # Comments may hold the same signs. Whichever of them counts, its directory must be short.
    sizes = [int.from_bytes(end[at.start() + 12 : at.start() + 16], "little") for at in re.finditer(_END, end)]
    if _END_OF_LARGE in end or max(sizes, default=0) > MAX_DIRECTORY:
        raise BodyTooLarge("The archive contains too many files.")


_READABLE = re.compile(r"^(?!__MACOSX/).*\.(?:csv|json)$", re.IGNORECASE | re.DOTALL)
"""A Mac adds files of its own to archives."""


def _unreadable(fault: Exception) -> MalformedRequest:
    return MalformedRequest(f"The archive cannot be read: {str(fault)[:100] or type(fault).__name__}.")


def _members(archive: zipfile.ZipFile, size: int) -> tuple[Member, ...]:
    """The files of an archive that are read. Raises MalformedRequest (400), BodyTooLarge (413)."""
    read = _chosen(archive)
    if not read:
        known = ", ".join(format_.member for format_ in FORMATS if format_.member)
        raise UnknownFormat(
            f"The archive contains no file that can be imported: {known}, or a name that ends in .csv or .json."
        )
    most = min(MAX_UNPACKED, UNPACKED_BASE + UNPACKED_PER_BYTE * size)
    # What is more than it says is not read: `zipfile` stops there.
    if len(read) > MAX_MEMBERS or sum(member.file_size for member in read) > most:
        raise BodyTooLarge(f"An archive of this size may hold {MAX_MEMBERS} files with {most} bytes together.")
    return tuple(Member(info.filename, partial(_unpacked, archive, info)) for info in read)


def _chosen(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The one file that a format names, else all that can be an export."""
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    for format_ in FORMATS:
        named = [one for one in members if format_.member and _is_named(one.filename, format_)]
        if named:
            return named[:1]
    return [member for member in members if _READABLE.search(member.filename)]


def _is_named(path: str, format_: Format) -> bool:
    return path == format_.member or (format_.is_nested and path.endswith(f"/{format_.member}"))


def _left_out(archive: zipfile.ZipFile) -> list[str]:
    """The files of an archive that are not read."""
    read = {id(info) for info in _chosen(archive)}
    return [info.filename for info in archive.infolist() if id(info) not in read and info.filename[-1:] != "/"]


@contextmanager
def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    """What is in a file of an archive. Raises MalformedRequest (400)."""
    if member.flag_bits & 1:
        raise MalformedRequest("The archive is encrypted.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise MalformedRequest("The archive uses an unknown compression. Use deflate.")
    with temporary() as file:
        for chunk in _chunks(archive, member):
            file.write(chunk)
        yield file


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as packed:
            while chunk := packed.read(CHUNK):
                yield chunk
    except _BROKEN as fault:
        raise _unreadable(fault) from None
