"""Files that come in: told apart and opened."""

import re
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

from duely.core.errors import BodyTooLarge, MalformedRequest
from duely.transfer.formats import duely, table, todoist, vikunja
from duely.transfer.rules import MAX_DIRECTORY, MAX_MEMBERS, MAX_UNPACKED, Format, Reading, Rows

CHUNK = 64 * 1024
IN_MEMORY = 1024 * 1024
"""Larger files are on disk."""
BEGINNING = 1024
"""Bytes that tell what kind of file it is."""


def temporary() -> BinaryIO:
    """A file that is gone when it is closed, on disk when it grows."""
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(IN_MEMORY))


@dataclass(frozen=True, slots=True)
class Opened:
    """A file whose kind is known. `rows` reads it from the beginning each time."""

    kind: Format
    rows: Callable[[Reading], Rows]


@contextmanager
def opened(file: BinaryIO, zone: str, now: datetime) -> Iterator[Opened]:
    """A file by what is in it. Raises MalformedRequest (400), BodyTooLarge (413).

    zone: that of times without an offset.
    """
    beginning = file.read(BEGINNING)
    file.seek(0)
    sign = beginning.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1]
    if not sign:
        raise MalformedRequest("The file is empty.")
    if beginning.startswith(b"PK"):
        with _archive(file) as archive:
            yield _of_archive(archive, zone, now)
    elif sign == b"{":
        yield Opened(Format.DUELY, lambda _: duely.read(file))
    elif sign == b"[":
        yield Opened(Format.VIKUNJA, lambda reading: vikunja.read(file, reading))
    elif todoist.is_one(table.headers(file)):
        yield Opened(Format.TODOIST, lambda reading: todoist.read(file, "", zone, now, reading, Counter()))
    else:
        yield Opened(Format.CSV, lambda reading: table.read(file, zone, reading))


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
        raise BodyTooLarge("The archive holds too many files.")


_PROJECT = re.compile(r"^(?!__MACOSX/).*\.csv$", re.IGNORECASE | re.DOTALL)
"""A Mac adds files of its own to archives."""


def _unreadable(fault: Exception) -> MalformedRequest:
    return MalformedRequest(f"The archive cannot be read: {str(fault)[:100] or type(fault).__name__}.")


def _of_archive(archive: zipfile.ZipFile, zone: str, now: datetime) -> Opened:
    members = sorted(archive.infolist(), key=lambda member: member.filename)
    data = [member for member in members if member.filename == vikunja.MEMBER]
    projects = [member for member in members if _PROJECT.search(member.filename)]
    read = data[:1] or projects
    if not read:
        raise MalformedRequest("The archive holds neither Vikunja's data.json nor Todoist's CSV files.")
    # What is more than it says is not read: `zipfile` stops there.
    if len(read) > MAX_MEMBERS or sum(member.file_size for member in read) > MAX_UNPACKED:
        raise BodyTooLarge(f"An archive may hold {MAX_MEMBERS} files with {MAX_UNPACKED} bytes together.")
    if data:
        return Opened(Format.VIKUNJA, lambda reading: _read_vikunja(archive, data[0], reading))
    return Opened(Format.TODOIST, lambda reading: _read_projects(archive, projects, zone, now, reading))


def _read_vikunja(archive: zipfile.ZipFile, member: zipfile.ZipInfo, reading: Reading) -> Rows:
    with _unpacked(archive, member) as file:
        yield from vikunja.read(file, reading)


def _read_projects(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], zone: str, now: datetime, reading: Reading
) -> Rows:
    seen: Counter[int] = Counter()
    for member in members:
        with _unpacked(archive, member) as project:
            if not todoist.is_one(table.headers(project)):
                raise MalformedRequest(f"{member.filename[:100]} in the archive is not a project of Todoist's.")
            yield from todoist.read(project, todoist.project_name(member.filename), zone, now, reading, seen)


@contextmanager
def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    """What is in a file of an archive. Raises MalformedRequest (400)."""
    if member.flag_bits & 1:
        raise MalformedRequest("The archive is encrypted.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise MalformedRequest("The archive is compressed in a way that is not known. Use deflate.")
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
