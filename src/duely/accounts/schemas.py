"""Accounts as clients send and see them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
from django.db.models import Q
from msgspec import UNSET, UnsetType

from duely.accounts import models, rules
from duely.accounts.rules import Fault, MailStatus, Role
from duely.api.bodies import Invalid
from duely.api.filters import Filter, Order, choices, flags, text
from duely.api.lists import Listing, Meta, Pagination
from duely.api.types import Instant, Parsed, text_of
from duely.core import clock
from duely.core.clock import as_shown, rfc3339
from duely.core.errors import FieldError, ValidationFailed


def _string(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    raise Invalid("invalid_type", "Use a string.")


def _refuse(fault: Fault | None) -> None:
    if fault:
        raise Invalid(*fault)


class Username(Parsed[str]):
    """1 to 150 letters, digits and . _ + -"""

    schema = {"type": "string", "minLength": 1, "maxLength": rules.MAX_USERNAME}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        username = rules.clean_username(_string(raw))
        _refuse(rules.username_fault(username))
        return username


class Email(Parsed[str]):
    """An e-mail address."""

    schema = {"type": "string", "format": "email", "maxLength": rules.MAX_EMAIL}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        email = rules.clean_email(_string(raw))
        _refuse(rules.email_fault(email))
        return email


class NewPassword(Parsed[str]):
    """At least 8 characters, not a common password, not only digits. Spaces are kept."""

    schema = {
        "type": "string",
        "format": "password",
        "minLength": rules.MIN_PASSWORD,
        "maxLength": rules.MAX_PASSWORD,
    }

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it, as far as that goes without knowing whose it is."""
        password = _string(raw)
        _refuse(rules.password_fault(password))
        return password


class DisplayName(Parsed[str]):
    """The name that is shown to people."""

    schema = {"type": "string", "maxLength": rules.MAX_DISPLAY_NAME}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=rules.MAX_DISPLAY_NAME)


class Bio(Parsed[str]):
    """A few lines about the user."""

    schema = {"type": "string", "maxLength": rules.MAX_BIO}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=rules.MAX_BIO, lines=True)


class TimeZone(Parsed[str]):
    """An IANA time zone."""

    schema = {"type": "string", "examples": ["Europe/Berlin"]}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        name = _string(raw)
        _refuse(rules.time_zone_fault(name))
        return name


class Locale(Parsed[str]):
    """A language tag (RFC 5646)."""

    schema = {
        "type": "string",
        "pattern": "^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
        "maxLength": rules.MAX_LOCALE,
        "examples": ["en", "pt-BR"],
    }

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        tag = _string(raw)
        _refuse(rules.locale_fault(tag))
        return tag


Password = Annotated[
    str, msgspec.Meta(min_length=1, max_length=rules.MAX_PASSWORD, extra_json_schema={"format": "password"})
]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


# The examples are about one person, who does not appear in the README: its tour and the API page do not collide.
PASSWORD_EXAMPLE = "a long sentence of mine"  # noqa: S105


class SignUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account."""

    examples: ClassVar[Mapping[str, Any]] = {
        "new_account": {"username": "marie", "email": "marie@example.org", "password": PASSWORD_EXAMPLE}
    }

    username: Username
    email: Email
    password: NewPassword


class LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password, and either `username` or `email`. `username` also accepts an e-mail address."""

    examples: ClassVar[Mapping[str, Any]] = {
        "with_a_user_name": {"username": "marie", "password": PASSWORD_EXAMPLE},
        "with_an_address": {"email": "marie@example.org", "password": PASSWORD_EXAMPLE},
    }

    password: Password
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=rules.MAX_EMAIL)] | UnsetType = UNSET
    email: Annotated[str, msgspec.Meta(min_length=1, max_length=rules.MAX_EMAIL)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValidationFailed (400) unless exactly one of `username` and `email` is given."""
        if self.username is UNSET and self.email is UNSET:
            raise ValidationFailed(FieldError("username", "required", "Send username or email."))
        if self.username is not UNSET and self.email is not UNSET:
            raise ValidationFailed(FieldError("email", "conflict", "Send either username or email, not both."))

    @property
    def login(self) -> str:
        """The user name or the e-mail address, whichever is given."""
        return self.email if self.username is UNSET else self.username  # type: ignore[return-value]


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address that a code is sent to."""

    examples: ClassVar[Mapping[str, Any]] = {"address": {"email": "marie@example.org"}}

    email: Email


class SentCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code and the address that it was sent to."""

    examples: ClassVar[Mapping[str, Any]] = {"code": {"email": "marie@example.org", "code": "123456"}}

    email: Email
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class LinkToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of a link in an e-mail (the part after the `#`), and the password of the account."""

    examples: ClassVar[Mapping[str, Any]] = {"token": {"token": "dlc_" + "A" * 48}}

    token: Token
    password: Password | UnsetType = UNSET


class NewAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new address, and the current password."""

    examples: ClassVar[Mapping[str, Any]] = {
        "new_address": {"email": "marie.curie@example.org", "current_password": PASSWORD_EXAMPLE}
    }

    email: Email
    current_password: Password


class PasswordReset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new password, and the reset token that allows it."""

    examples: ClassVar[Mapping[str, Any]] = {
        "new_password": {"reset_token": "dlc_" + "A" * 48, "new_password": "another long sentence"}
    }

    reset_token: Token
    new_password: NewPassword


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token."""

    examples: ClassVar[Mapping[str, Any]] = {"refresh_token": {"refresh": "dlr_" + "A" * 43}}

    refresh: Token


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The current password and the new one."""

    examples: ClassVar[Mapping[str, Any]] = {
        "new_password": {"current_password": PASSWORD_EXAMPLE, "new_password": "another long sentence"}
    }

    current_password: Password
    new_password: NewPassword


class ProfileIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The writable fields of a profile."""

    examples: ClassVar[Mapping[str, Any]] = {
        "name_and_time_zone": {"display_name": "Grace", "time_zone": "Europe/Berlin"},
        "mails": {"reminder_emails": True, "digest_hour": 7},
    }

    display_name: DisplayName | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    bio: Bio | UnsetType = UNSET
    reminder_emails: bool | UnsetType = UNSET
    digest_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] | UnsetType | None = UNSET


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of a user by an admin."""

    examples: ClassVar[Mapping[str, Any]] = {"role": {"role": "intern"}, "keep_out": {"is_active": False}}

    role: Role | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class UserPath(msgspec.Struct, frozen=True):
    """The id of the user."""

    user_id: UUID


class SessionPath(msgspec.Struct, frozen=True):
    """The id of the session."""

    session_id: UUID


class Message(msgspec.Struct, frozen=True):
    """A message for people. It does not reveal whether an account exists."""

    message: str


class ResetGrant(msgspec.Struct, frozen=True):
    """A token that sets a new password. It can be used once, within 10 minutes."""

    reset_token: str


class TokenPair(msgspec.Struct, frozen=True):
    """An access token, to be sent as `Authorization: Bearer …`, and a refresh token to get the next pair.

    `expires_in` is the lifetime of the access token in seconds.
    """

    access: str
    refresh: str
    token_type: Literal["Bearer"]
    expires_in: int


class User(msgspec.Struct, frozen=True):
    """A user. Visible to the user and to admins."""

    id: UUID
    username: str
    email: str
    email_verified: bool
    role: Role
    is_active: bool
    created_at: Instant


class UserPage(msgspec.Struct, frozen=True):
    """A page of users."""

    data: list[User]
    pagination: Pagination
    meta: Meta


class Profile(msgspec.Struct, frozen=True):
    """Your profile."""

    username: str
    email: str
    email_verified: bool
    role: Role
    created_at: Instant
    display_name: str
    time_zone: str
    locale: str
    bio: str
    reminder_emails: bool
    digest_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] | None
    days_moving: Annotated[
        bool,
        msgspec.Meta(
            description=(
                "True while tasks that are due on whole days are being moved to a new `time_zone`."
                " Until then, some of them become overdue, are sorted and are filtered by the previous time zone."
            )
        ),
    ]
    mail_status: Annotated[
        MailStatus,
        msgspec.Meta(
            description=(
                "Whether reminders and digests are sent. `unverified`: not until the address is verified;"
                " `POST auth/resend-verification/` sends the link. `limited`: not until 00:00 UTC, because the mailbox"
                " has reached its daily limit."
            )
        ),
    ]
    mail_hint: Annotated[
        str,
        msgspec.Meta(description="Explains `mail_status` to people, and says what to do. Empty while mail is sent."),
    ]


class Session(msgspec.Struct, frozen=True):
    """A session of a user. `last_used_at` is the time of its last token refresh."""

    id: UUID
    ip: str | None
    user_agent: str
    created_at: Instant
    last_used_at: Instant
    expires_at: Instant
    current: bool


class SessionPage(msgspec.Struct, frozen=True):
    """A page of sessions."""

    data: list[Session]
    pagination: Pagination
    meta: Meta


def show_user(user: models.User) -> User:
    """A user as admins and the user see them."""
    return _show_user_row(as_shown(getattr(user, name) for name in USERS.columns))


def _show_user_row(row: tuple[Any, ...]) -> User:
    id_, username, email, email_verified, role, is_active, created_at = row
    return User(id_, username, email, email_verified, role, is_active, created_at)


def show_profile(user: models.User) -> Profile:
    """A user's profile as they see it."""
    status = rules.mail_status(is_verified=user.email_verified, paused_until=user.mail_paused_until, now=clock.now())
    return Profile(
        username=user.username,
        email=user.email,
        email_verified=user.email_verified,
        role=Role(user.role),
        created_at=rfc3339(user.created_at),
        display_name=user.display_name,
        time_zone=user.time_zone,
        locale=user.locale,
        bio=user.bio,
        reminder_emails=user.reminder_emails,
        digest_hour=user.digest_hour,
        days_moving=user.days_moving_since is not None,
        mail_status=status,
        mail_hint=rules.MAIL_HINTS[status],
    )


def _show_session_row(row: tuple[Any, ...]) -> Session:
    id_, ip, user_agent, created_at, last_used_at, expires_at, current = row
    return Session(id_, ip, user_agent, created_at, last_used_at, expires_at, current)


def _named_like(_lookup: str, wanted: str) -> Q:
    return Q(username_key__contains=rules.fold(wanted)) | Q(email_key__contains=rules.fold(wanted))


USERS = Listing(
    name="users",
    item=User,
    columns=("id", "username", "email", "email_verified", "role", "is_active", "created_at"),
    show=_show_user_row,
    filters=(
        choices("role", "role", Role),
        flags("is_active", lambda wanted: Q(is_active=wanted), "Filters by whether the user may sign in."),
        Filter(
            "search",
            "username_key",
            text,
            {"type": "string", "minLength": 1, "maxLength": 255},
            many=False,
            description="Filters by a part of the user name or e-mail address.",
            select=_named_like,
        ),
    ),
    orderings={"created_at": Order("created_at"), "username": Order("username_key"), "email": Order("email_key")},
    default_order="created_at",
)

SESSIONS = Listing(
    name="sessions",
    item=Session,
    columns=("id", "ip", "user_agent", "created_at", "last_used_at", "expires_at", "current"),
    show=_show_session_row,
    filters=(),
    orderings={"created_at": Order("created_at"), "last_used_at": Order("last_used_at")},
    default_order="-last_used_at",
)
