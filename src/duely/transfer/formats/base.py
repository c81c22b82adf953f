"""What every format has: how it is recognised, and how its rows are read."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from duely.core.errors import MalformedRequest
from duely.transfer.reading import Reading
from duely.transfer.rules import Rows


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an upload. name: as the archive calls it; "" outside of an archive."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is seen of a file before it is read.

    kind: "table", "object" or "list". names: the columns of a table, in the order of the file, or the paths in a JSON
    document, with "[]" for items of a list: `[].tasks[].done`.
    """

    kind: str
    names: tuple[str, ...]

    def has(self, *names: str) -> bool:
        """Whether all of these are there."""
        return all(name in self.names for name in names)


@dataclass(frozen=True, slots=True)
class Source:
    """The files of an upload that are read, and what a reader has to know of their owner.

    outline: of the first file. zone: the time zone of times without an offset.
    """

    members: tuple[Member, ...]
    outline: Outline
    zone: str
    now: datetime

    def only(self) -> AbstractContextManager[BinaryIO]:
        """The file of a format that has one. Raises MalformedRequest (400) when there are several."""
        if len(self.members) != 1:
            names = ", ".join(member.name[:100] for member in self.members[:5])
            raise MalformedRequest(f"The archive holds several exports: {names}. Send them one by one.")
        return self.members[0].open()


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that can be imported.

    name: what answers call it. program, export: for people: whose file, and which one. member: the name of the file to
    read in its archives, where an archive holds others too. is_nested: that file may lie in a folder.
    """

    name: str
    program: str
    export: str
    recognises: Callable[[Outline], bool]
    read: Callable[[Source, Reading], Rows]
    member: str = ""
    is_nested: bool = False


def each_member(source: Source) -> Iterator[tuple[Member, BinaryIO]]:
    """The files of an upload, opened one after the other."""
    for member in source.members:
        with member.open() as file:
            yield member, file
