"""What mails are made of, and which mails may go where: pure functions, and the address of a mail server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_SUBJECT = 150

# Marks that reorder the text around them: a title could show "gpj.exe" as "exe.jpg", or turn a whole line round.
_REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Whole words: a pattern that looks for an `@` within would read a word without one again from each of its characters.
_WORD = re.compile(r"[^\s<>\"']+")


class Allowance(StrEnum):
    """A daily limit of mails. Each is counted by itself: reminders never use up the limit of codes."""

    NOTICES = "notices"
    CODES = "codes"
    LINKS = "links"
    SECURITY = "security"


DAILY_LIMITS: Final[Mapping[Allowance, int]] = {
    Allowance.NOTICES: 200,
    Allowance.CODES: 180,
    Allowance.LINKS: 150,
    Allowance.SECURITY: 10,
}
"""Mails to one mailbox within a day (UTC). SECURITY: notices to addresses that are not verified."""

REQUESTER_SHARES: Final[Mapping[Allowance, int]] = {Allowance.CODES: 7, Allowance.LINKS: 6}
"""Mails to one mailbox that one requester may cause within a day. The limits above hold 25 such shares: 24 strangers
cannot use them up (decision 0043)."""

MAX_NOTICES_OF_EVENT: Final = 20
"""Notices to the verified address of one account, about one kind of event, within a day (UTC)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is allowed to mails of one kind, and how they are counted.

    to_unproven: they may go to an address that nobody has proven to be theirs. Such mails must not hold text that a
    user wrote. spares_proven: mails to proven addresses are neither counted nor dropped. by_event: mails to the proven
    address of an account are counted for that account and kind of event alone; over the limit they are sent on the next
    day, while others are dropped. counted_when_asked: whoever asks for one over the limit is refused, so it is not
    counted when it is sent.
    """

    allowance: Allowance = Allowance.NOTICES
    to_unproven: bool = False
    spares_proven: bool = False
    by_event: bool = False
    counted_when_asked: bool = False


UNREGISTERED: Final = Kind()
KINDS: Final[Mapping[str, Kind]] = {
    # Strangers who ask for codes must not use up those of the owner. The accounts module bounds how many one address
    # is mailed (decision 0026); the limit here is for many addresses of one mailbox.
    "account_code": Kind(Allowance.CODES, to_unproven=True, spares_proven=True),
    # Refused by `accounts.steps.limit_links`, so that the requester knows. Counted whether or not a mail is sent in the
    # end: else the limit would tell whether there is an account with the address.
    "account_link": Kind(Allowance.LINKS, to_unproven=True, counted_when_asked=True),
    "account_known": Kind(Allowance.LINKS, to_unproven=True, counted_when_asked=True),
    # Anyone can make accounts with addresses of this mailbox and change them. What they cause is counted apart.
    "account_change": Kind(Allowance.SECURITY, to_unproven=True, by_event=True),
    "reminder": Kind(),
    "digest": Kind(),
}
"""The kinds of mails, by the name of their template. A kind that is missing here is treated as UNREGISTERED."""


def kind_of(name: str) -> Kind:
    """What is allowed to mails of this kind: the least, unless it is registered in KINDS."""
    return KINDS.get(name, UNREGISTERED)


_GOOGLE = frozenset({"gmail.com", "googlemail.com"})


def mailbox_of(address: str) -> str:
    """The mailbox behind an address, for counting: without case, without what follows a `+`.

    At Gmail dots in the name do not count either. Other servers may treat these as different mailboxes; they then
    share one limit.
    """
    name, _, domain = address.strip().casefold().rpartition("@")
    name = name.partition("+")[0] or name
    if domain in _GOOGLE:
        name, domain = name.replace(".", ""), "gmail.com"
    return f"{name}@{domain}"


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
    return one_line(_WORD.sub(lambda word: "…" if "@" in word[0] else word[0], text), limit)
