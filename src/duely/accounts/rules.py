"""What names, addresses and passwords look like. No database, no clock."""

import itertools
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import available_timezones

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from duely.core.names import fold as fold  # noqa: PLC0414 - as much a rule of accounts
from duely.core.names import normal
from duely.core.permissions import Role as Role  # noqa: PLC0414 - the role is a property of an account
from duely.core.scripts import changes_latin_letters, mixes_scripts

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

MAX_USERNAME = 150
MAX_EMAIL = 254
MIN_PASSWORD = 8
MAX_PASSWORD = 512
MAX_DISPLAY_NAME = 150
MAX_BIO = 2000
MAX_LOCALE = 35
MAX_TIME_ZONE = 64

CODE_DIGITS = 6
LONG_CODE_LETTERS = 12
"""Letters and digits of a long code: 60 bits, which nobody guesses, however often they try."""
LONG_CODE_MINUTES = 30
MAX_TRIES = 5
"""How often one requester may guess at one code."""
MAX_WRONG_PER_DAY = 25
"""Guesses at six digits that are looked at for one address, one purpose and one day. With two purposes the chance to
hit one is 50 in a million, 0.005 %. Beyond that codes are long (decision 0026)."""
MAX_REQUESTS_PER_DAY = 20
"""How many codes one requester may ask for, for one address and one purpose, within a day."""
MAX_MAILS = 3
"""How often one code of six digits is mailed."""
MAX_MAILS_PER_DAY = 20
"""Mails with codes to one address, of one purpose, within a day. Beyond that codes are long, and mailed once."""

MAX_SESSIONS = 50
"""Where one user may be signed in at once. The session that was not used for longest ends when another begins."""
MAX_SESSION_DAYS = 90
"""After so many days a session ends, however much it is used."""
MAX_ADDRESSES = 50
"""How many addresses are remembered from which a user has signed in."""

PROFILE_DEFAULTS: Final[Mapping[str, Any]] = {
    "display_name": "",
    "time_zone": "UTC",
    "locale": "en",
    "bio": "",
    "reminder_emails": True,
    "digest_hour": None,
}
"""The writable fields of a profile, as a new account has them."""


class Purpose(StrEnum):
    """What a one-time code is for. The first two are sent as digits, the others are long tokens."""

    SIGN_IN = "sign_in"
    RESET = "reset"
    RESET_TOKEN = "reset_token"  # noqa: S105
    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    SIGN_UP = "sign_up"


class MailStatus(StrEnum):
    """Whether reminders and digests are sent to a user."""

    ON = "on"
    UNVERIFIED = "unverified"
    LIMITED = "limited"


MAIL_HINTS: Final[Mapping[MailStatus, str]] = {
    MailStatus.ON: "",
    MailStatus.UNVERIFIED: (
        "Reminders and digests are not sent because your e-mail address is not verified."
        " POST auth/resend-verification/ sends a link to it; follow that link."
    ),
    MailStatus.LIMITED: (
        "No more reminders and digests are sent today: your mailbox has reached the daily limit."
        " They are sent again from 00:00 UTC."
    ),
}
"""What the status means for its reader, and what to do about it."""


def mail_status(*, is_verified: bool, paused_until: datetime | None, now: datetime) -> MailStatus:
    """Whether reminders and digests are sent to an address."""
    if not is_verified:
        return MailStatus.UNVERIFIED
    return MailStatus.LIMITED if paused_until is not None and paused_until > now else MailStatus.ON


class Fault(NamedTuple):
    """Why a value is refused: a stable code and a sentence."""

    code: str
    message: str


def clean_username(text: str) -> str:
    """As user names are stored: without blanks around, in one Unicode form."""
    return normal(text).strip()


MAX_MARKS = 4
"""Marks in a row on one letter of a user name (UTS #39, section 5.4)."""
_OVERLAY, _VIRAMA = 1, 9
_JOINERS = "\u200c\u200d"
"""They join letters in scripts of India, behind the sign that takes the vowel away (RFC 5892, appendix A)."""
_IGNORED = frozenset(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0))) | (
    frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters and marks that nobody sees."""


def username_fault(username: str) -> Fault | None:
    """What is wrong with a cleaned user name. It has no `@`, so it never looks like someone's e-mail address."""
    if not username:
        return Fault("required", "This field must not be empty.")
    if len(username) > MAX_USERNAME:
        return Fault("too_long", f"Use at most {MAX_USERNAME} characters.")
    if not _has_letters_only(username) or changes_latin_letters(username):
        return Fault("invalid_username", "Use letters, digits and . _ + - only.")
    if mixes_scripts(username):
        return Fault(
            "mixed_scripts",
            "Use letters and digits of one script. This name mixes scripts and may look like another one.",
        )
    return None


def _has_letters_only(username: str) -> bool:
    """Whether each sign is a letter, a digit, one of . _ + -, or belongs to the letter before it.

    Vowel signs and accents (categories Mn and Mc) are part of names in many scripts. Not those that are drawn over a
    letter (combining class 1): they make it look like another one.
    """
    marks = 0
    for before, sign in itertools.pairwise(f".{username}"):
        is_mark = unicodedata.category(sign) in ("Mn", "Mc") and unicodedata.combining(sign) != _OVERLAY
        if sign in _JOINERS and unicodedata.combining(before) == _VIRAMA:
            continue
        if sign in _IGNORED or not (sign.isalnum() or sign in "._+-" or is_mark):
            return False
        marks = marks + 1 if is_mark else 0
        if is_mark and (sign == before or marks > MAX_MARKS or not _carries_marks(before)):
            return False
    return True


def _carries_marks(sign: str) -> bool:
    return unicodedata.category(sign)[0] in "LM" or sign in _JOINERS


def clean_email(text: str) -> str:
    """As e-mail addresses are stored: without blanks around."""
    return text.strip()


def email_key(text: str) -> str:
    """The form in which e-mail addresses are compared."""
    return fold(clean_email(text))


def username_from(email: str, suffix: str = "") -> str:
    """A user name made of an e-mail address, for someone who never chose one."""
    local = clean_username(email.partition("@")[0])
    kept = "".join(letter for letter in local if letter.isalnum() or letter in "._+-")
    return (kept[: MAX_USERNAME - len(suffix)] or "user") + suffix


def email_fault(email: str) -> Fault | None:
    """What is wrong with a cleaned e-mail address."""
    if not email:
        return Fault("required", "This field must not be empty.")
    if len(email) > MAX_EMAIL:
        return Fault("too_long", f"Use at most {MAX_EMAIL} characters.")
    if not email.isascii():
        return Fault("invalid_email", "Use ASCII letters; write an international domain in its xn-- form.")
    # A quoted local part may hold blanks and control characters: nobody has one, and mail headers break on it.
    if not email.isprintable() or '"' in email:
        return Fault("invalid_email", "This is not an e-mail address.")
    try:
        validate_email(email)
    except ValidationError:
        return Fault("invalid_email", "This is not an e-mail address.")
    return None


def password_fault(password: str, user: "AbstractBaseUser | None" = None) -> Fault | None:
    """What is wrong with a new password; with `user`, also whether it is too much like their name or address."""
    if len(password) > MAX_PASSWORD:
        return Fault("too_long", f"Use at most {MAX_PASSWORD} characters.")
    try:
        validate_password(password, user)  # type: ignore[arg-type]  # any user model will do
    except ValidationError as refused:
        return Fault(refused.error_list[0].code or "invalid", " ".join(refused.messages))
    return None


def time_zone_fault(name: str) -> Fault | None:
    """What is wrong with the name of a time zone."""
    if name not in time_zones():
        return Fault("invalid_time_zone", "Use an IANA time zone, such as Europe/Berlin.")
    return None


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The IANA time zones. Names that mean another place on each machine are not among them."""
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)


def locale_fault(tag: str) -> Fault | None:
    """What is wrong with a language tag (RFC 5646)."""
    if len(tag) > MAX_LOCALE or not _LANGUAGE_TAG.fullmatch(tag):
        return Fault("invalid_locale", "Use a language tag, such as en or pt-BR.")
    return None
