"""Pure functions for the text of mails, the kinds of mails with their limits, and the type of a mail server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_SUBJECT = 150

# Unicode marks that reorder the text around them: a title could show "gpj.exe" as "exe.jpg".
_REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Matches whole words. A pattern with an `@` inside would scan a word without one from each of its characters:
# quadratic time for a long answer of a server.
_WORD = re.compile(r"[^\s<>\"']+")


class Allowance(StrEnum):
    """The daily limits of mails. They are counted separately, so that reminders never use up the limit of codes."""

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

NETWORK_SHARES: Final[Mapping[Allowance, int]] = {Allowance.CODES: 14, Allowance.LINKS: 12}
"""Mails to one mailbox that all requesters of one network may cause within a day. One customer may own the network, so
that its many addresses must not have many shares. Two shares, so that a neighbour with one address leaves one."""

MAX_NOTICES_OF_EVENT: Final = 20
"""Notices to the verified address of one account, about one kind of event, within a day (UTC)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The permissions and the limit of one kind of mail (decisions 0027 and 0043).

    to_unproven: may be sent to an unverified address. Such mails must not contain text that a user wrote.
    spares_proven: mails to verified addresses are neither counted nor dropped.
    by_event: mails to the verified address of an account are counted for this account and kind of event alone. Over the
    limit they are sent on the next day, while other mails are dropped.
    counted_when_asked: the request for such a mail is counted and refused over the limit, so the mail itself is not
    counted.
    """

    allowance: Allowance = Allowance.NOTICES
    to_unproven: bool = False
    spares_proven: bool = False
    by_event: bool = False
    counted_when_asked: bool = False


UNREGISTERED: Final = Kind()
KINDS: Final[Mapping[str, Kind]] = {
    # Strangers must not use up the owner's codes. The accounts module limits codes for each address (decision 0026) and
    # refuses requests beyond the share of a requester (`accounts.steps.code_to_mail`). The limit of the mailbox cannot
    # refuse a request: it spares verified addresses, so that a refusal would reveal them.
    "account_code": Kind(Allowance.CODES, to_unproven=True, spares_proven=True),
    # Refused by `accounts.steps.limit_links`, so that the requester gets an error. Counted even if no mail is sent,
    # because otherwise the limit would reveal whether the address has an account.
    "account_link": Kind(Allowance.LINKS, to_unproven=True, counted_when_asked=True),
    "account_known": Kind(Allowance.LINKS, to_unproven=True, counted_when_asked=True),
    # Anyone can create accounts with addresses of this mailbox and change them. Their notices are counted separately.
    "account_change": Kind(Allowance.SECURITY, to_unproven=True, by_event=True),
    "reminder": Kind(),
    "digest": Kind(),
}
"""The kinds of mails, by the name of their template. A kind that is missing here is treated as UNREGISTERED."""


def kind_of(name: str) -> Kind:
    """The rules of this kind of mail. For a name that is missing in KINDS, the strictest ones."""
    return KINDS.get(name, UNREGISTERED)


_GOOGLE = frozenset({"gmail.com", "googlemail.com"})


def mailbox_of(address: str) -> str:
    """The mailbox of an address, for counting: in lower case, without the part after a `+`, at Gmail without dots.

    A server may treat such addresses as different mailboxes. Then they share one limit.
    """
    name, _, domain = address.strip().casefold().rpartition("@")
    name = name.partition("+")[0] or name
    if domain in _GOOGLE:
        name, domain = name.replace(".", ""), "gmail.com"
    return f"{name}@{domain}"


class Security(StrEnum):
    """The encryption of the connection to a mail server."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and the credentials for it."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def printable(text: str) -> str:
    """Replace control characters by spaces and remove marks that reorder text."""
    text = _CONTROLS.sub(" ", _REORDERING.sub("", text.replace("\r\n", "\n")))
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int = MAX_SUBJECT) -> str:
    """Make a text fit for a header: one line of at most `limit` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def paragraphs(text: str) -> str:
    """The output of a text template without the empty lines and spaces that its tags leave."""
    lines = "\n".join(line.rstrip() for line in printable(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"


def without_addresses(text: str, limit: int = MAX_SUBJECT) -> str:
    """A server's answer for logs and lists of jobs: one line, with each e-mail address replaced by `…`."""
    return one_line(_WORD.sub(lambda word: "…" if "@" in word[0] else word[0], text), limit)
