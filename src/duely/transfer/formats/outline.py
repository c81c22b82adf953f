"""What a file looks like before it is read: enough to tell its format, in one pass and little memory."""

from typing import BinaryIO

from duely.core.errors import MalformedRequest
from duely.transfer.formats import sheet
from duely.transfer.formats.base import Outline
from duely.transfer.formats.document import Document
from duely.transfer.reading import Reading

LOOKED_AT = 20
"""Items of a list, and members of an inner object, that are looked into."""
MAX_DEPTH = 5
MAX_SEEN = 5000
"""Paths that are kept."""
MAX_PATH = 200
"""Characters of one."""


def of_document(file: BinaryIO, reading: Reading) -> Outline:
    """The paths of a JSON document. Raises MalformedRequest (400)."""
    document = Document(file, reading.check)
    sign = document.peek()
    if sign not in ("{", "["):
        raise MalformedRequest("The file is JSON, but neither an object nor a list.")
    names: dict[str, None] = {}
    _look(document, "", 0, names)
    document.end()
    return Outline("object" if sign == "{" else "list", tuple(names))


def _look(document: Document, path: str, depth: int, names: dict[str, None]) -> None:
    sign = document.peek()
    if depth >= MAX_DEPTH or sign not in ("{", "["):
        document.skip()
        return
    steps = ("[]" for _ in document.items(LOOKED_AT)) if sign == "[" else document.fields()
    for number, step in enumerate(steps):
        inside = f"{path}.{step}" if path and sign == "{" else f"{path}{step}"
        if len(names) < MAX_SEEN and (number < LOOKED_AT or depth == 0):
            names[inside[:MAX_PATH]] = None
        if (len(names) < MAX_SEEN and number < LOOKED_AT) or (depth == 0 and sign == "{"):
            _look(document, inside, depth + 1, names)
        else:
            document.skip()


def of_table(file: BinaryIO, is_header: sheet.IsHeader, reading: Reading) -> Outline:
    """The columns of a table: of the first row that a format knows as its header, else of the first row."""
    _, cells = sheet.header(file, reading.check, is_header)
    return Outline("table", tuple(cell.strip() for cell in (cells or sheet.header(file, reading.check)[1])))
