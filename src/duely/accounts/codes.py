"""One-time codes and tokens: making them, reading them. Nothing here asks the database.

Each follows from the id of its row and a secret key by HMAC (RFC 2104). So a mail can be made whenever it is sent, and
again if that failed, while neither the table of codes nor the queue holds anything that opens a door.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings

from duely.accounts.models import Code
from duely.accounts.rules import CODE_DIGITS, LONG_CODE_LETTERS, Purpose
from duely.core.keys import accepted_keys, current_key

KEY: Final = "code"
MAC_BYTES: Final = 20
RESET_TOKEN_MINUTES: Final = 10
LINK_HOURS: Final = 24
LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's Base32: no letters that look like digits."""

_LOOK_ALIKE = str.maketrans("OIL", "011")

TOKEN_PATTERN: Final = "dlc_[A-Za-z0-9_-]{48}"  # noqa: S105 - the form of tokens
_TOKEN = re.compile(TOKEN_PATTERN, re.ASCII)


def lifetime(purpose: Purpose) -> timedelta:
    """For how long a code or a token of this purpose works."""
    if purpose in (Purpose.SIGN_IN, Purpose.RESET):
        return timedelta(minutes=settings.OTP_MINUTES)
    if purpose is Purpose.RESET_TOKEN:
        return timedelta(minutes=RESET_TOKEN_MINUTES)
    return timedelta(hours=LINK_HOURS)


def text(purpose: Purpose, code: Code) -> str:
    """A code as it is mailed: six digits, or a long one such as `7KQM-2XRT-9PWA`."""
    return _long(current_key(KEY), purpose, code.id) if code.is_long else digits(purpose, code.id)


def is_text(guess: str, purpose: Purpose, code: Code) -> bool:
    """Whether this is that code, by any accepted key, in a time that tells nothing. Blanks are fine.

    In a long one case and hyphens do not count, nor that O looks like 0, and I and L like 1.
    """
    return (is_long_code if code.is_long else are_digits)(guess, purpose, code.id)


def digits(purpose: Purpose, row_id: UUID) -> str:
    """The six digits of a code."""
    return _digits(current_key(KEY), purpose, row_id)


def are_digits(guess: str, purpose: Purpose, row_id: UUID) -> bool:
    """Whether these are the digits of that code."""
    return _is_one_of(guess, [_digits(key, purpose, row_id) for key in accepted_keys(KEY)])


def is_long_code(guess: str, purpose: Purpose, row_id: UUID) -> bool:
    """Whether these are the letters of that long code."""
    sent = guess.upper().replace("-", "").translate(_LOOK_ALIKE)
    return _is_one_of(sent, [_long(key, purpose, row_id).replace("-", "") for key in accepted_keys(KEY)])


def _is_one_of(guess: str, right: list[str]) -> bool:
    sent = "".join(guess.split()).encode()
    return any([hmac.compare_digest(sent, each.encode()) for each in right])  # noqa: C419 - all of them, for the time


def token(purpose: Purpose, row_id: UUID) -> str:
    """A long token: the id and 160 bits that only we can make."""
    signed = row_id.bytes + _mac(current_key(KEY), purpose, row_id)[:MAC_BYTES]
    return "dlc_" + base64.urlsafe_b64encode(signed).decode()


def read_token(text: str, purposes: Iterable[Purpose]) -> tuple[Purpose, UUID] | None:
    """What a token of ours is for and whose row it is of; None for anything else, tokens of other purposes included."""
    if not _TOKEN.fullmatch(text):
        return None
    signed = base64.urlsafe_b64decode(text.removeprefix("dlc_"))
    row_id, mac = UUID(bytes=signed[:16]), signed[16:]
    for purpose in purposes:
        if any(hmac.compare_digest(mac, _mac(key, purpose, row_id)[:MAC_BYTES]) for key in accepted_keys(KEY)):
            return purpose, row_id
    return None


def _digits(key: bytes, purpose: Purpose, row_id: UUID) -> str:
    number = int.from_bytes(_mac(key, purpose, row_id)[:8], "big")
    return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def _long(key: bytes, purpose: Purpose, row_id: UUID) -> str:
    number = int.from_bytes(
        hmac.digest(key, b"long:" + purpose.encode() + b":" + row_id.bytes, hashlib.sha256)[:8], "big"
    )
    letters = "".join(LETTERS[number >> 5 * place & 31] for place in range(LONG_CODE_LETTERS))
    return "-".join(letters[start : start + 4] for start in range(0, LONG_CODE_LETTERS, 4))


def _mac(key: bytes, purpose: Purpose, row_id: UUID) -> bytes:
    return hmac.digest(key, purpose.encode() + b":" + row_id.bytes, hashlib.sha256)
