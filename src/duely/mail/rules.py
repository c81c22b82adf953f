"""What mails are made of: pure functions over text, and the address of a mail server."""

import re
from dataclasses import dataclass, field
from enum import StrEnum

MAX_SUBJECT = 150

# Marks that reorder the text around them: a title could show "gpj.exe" as "exe.jpg", or turn a whole line round.
_REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_ADDRESS = re.compile(r"[^\s<>\"']*@[^\s<>\"']*")


class Security(StrEnum):
    """How the way to a mail server is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and how to sign in there."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def printable(text: str) -> str:
    """`text` without what a reader cannot see: control characters become spaces, marks that reorder text vanish."""
    text = _CONTROLS.sub(" ", _REORDERING.sub("", text.replace("\r\n", "\n")))
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int = MAX_SUBJECT) -> str:
    """`text` fit for a header: one line of at most `limit` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def paragraphs(text: str) -> str:
    """What a text template made, without the empty lines and the spaces that its tags left behind."""
    lines = "\n".join(line.rstrip() for line in printable(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"


def without_addresses(text: str, limit: int = MAX_SUBJECT) -> str:
    """A server's sentence for logs and lists of jobs: one line, with every e-mail address left out."""
    return one_line(_ADDRESS.sub("…", text), limit)
