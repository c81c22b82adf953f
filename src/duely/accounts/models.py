"""Users with their profiles, sessions, refresh tokens, one-time codes."""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.utils.crypto import salted_hmac

from duely.accounts.rules import (
    MAX_BIO,
    MAX_DISPLAY_NAME,
    MAX_EMAIL,
    MAX_LOCALE,
    MAX_SESSION_DAYS,
    MAX_TIME_ZONE,
    MAX_USERNAME,
    PROFILE_DEFAULTS,
    Role,
    fold,
)

LONGEST_FOLD = 3
"""Folding makes a character into at most three."""


class UserManager(BaseUserManager["User"]):
    """Finds users by name as people write it."""

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user of this name, in any case."""
        return self.get(username_key=fold(username or ""))


class User(AbstractBaseUser):
    """Someone with an account, and their profile.

    `username_key` and `email_key` are folded by `rules.fold`, so that both databases agree on which names are
    the same; SQLite's own lower() knows ASCII alone, PostgreSQL's depends on the server's locale.
    `signed_out_at` is when everything that gave access to the account last ended (`steps.end_access`): sessions of the
    admin's pages that began earlier end with it.
    `mail_paused_until`: their mailbox gets no reminders and digests before that, as the daily limit is reached.
    """

    last_login = None

    id = models.UUIDField(primary_key=True)
    username = models.CharField(max_length=MAX_USERNAME)
    username_key = models.CharField(max_length=MAX_USERNAME * LONGEST_FOLD)
    email = models.EmailField(max_length=MAX_EMAIL)
    email_key = models.CharField(max_length=MAX_EMAIL)
    email_verified = models.BooleanField(default=False)
    role = models.CharField(max_length=16)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    signed_out_at = models.DateTimeField(null=True)

    display_name = models.CharField(max_length=MAX_DISPLAY_NAME, default=PROFILE_DEFAULTS["display_name"])
    time_zone = models.CharField(max_length=MAX_TIME_ZONE, default=PROFILE_DEFAULTS["time_zone"])
    locale = models.CharField(max_length=MAX_LOCALE, default=PROFILE_DEFAULTS["locale"])
    bio = models.CharField(max_length=MAX_BIO, default=PROFILE_DEFAULTS["bio"])
    reminder_emails = models.BooleanField(default=PROFILE_DEFAULTS["reminder_emails"])
    digest_hour = models.SmallIntegerField(null=True, default=PROFILE_DEFAULTS["digest_hour"])
    days_moving_since = models.DateTimeField(null=True)
    mail_paused_until = models.DateTimeField(null=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar = ["email"]
    change_type = "user"

    class Meta:
        db_table = "accounts_user"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["username_key"], name="accounts_user_username"),
            models.UniqueConstraint(fields=["email_key"], name="accounts_user_email"),
            models.CheckConstraint(condition=~models.Q(username_key=""), name="accounts_user_username_given"),
            models.CheckConstraint(condition=~models.Q(email_key=""), name="accounts_user_email_given"),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="accounts_user_role"
            ),
            models.CheckConstraint(
                condition=models.Q(digest_hour__isnull=True) | models.Q(digest_hour__range=(0, 23)),
                name="accounts_user_digest_hour",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="accounts_user_created"),
            models.Index(fields=["id"], name="accounts_user_admins", condition=models.Q(role="admin", is_active=True)),
        ]

    @property
    def is_staff(self) -> bool:
        """Whether Django's admin lets them in."""
        return self.is_active and self.role == Role.ADMIN.value

    @property
    def is_superuser(self) -> bool:
        """As `is_staff`: there is one kind of admin."""
        return self.is_staff

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Django's admin asks this for each page."""
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        """Django's admin asks this for each module."""
        return self.is_staff

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """What a session of the admin's pages is bound to: it ends when the password or `signed_out_at` changes."""
        since = self.signed_out_at.isoformat() if self.signed_out_at else ""
        bound = salted_hmac("duely.accounts.session", f"{self.password}/{since}", secret=secret, algorithm="sha256")
        return bound.hexdigest()

    @property
    def change_id(self) -> UUID:
        """Its id in the change log."""
        return self.id

    @property
    def change_owner_id(self) -> UUID:
        """In whose log its changes stand."""
        return self.id

    @property
    def change_label(self) -> str:
        """What the change log calls it."""
        return self.username


class EndReason(models.TextChoices):
    """Why a session is over. Sessions that only ran out have none."""

    SIGNED_OUT = "signed_out"
    SIGNED_OUT_EVERYWHERE = "signed_out_everywhere"
    ENDED = "ended"
    TOKEN_REUSED = "token_reused"  # noqa: S105
    PASSWORD_CHANGED = "password_changed"  # noqa: S105
    PASSWORD_RESET = "password_reset"  # noqa: S105
    ADDRESS_PROVEN = "address_proven"
    ADDRESS_CHANGED = "address_changed"
    ROLE_CHANGED = "role_changed"
    DEACTIVATED = "deactivated"
    TOO_MANY = "too_many"
    REACTIVATED = "reactivated"


class Session(models.Model):
    """Someone signed in from somewhere: the family of all refresh tokens that follow from one sign-in."""

    id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=255)
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=32)

    user_id: UUID

    class Meta:
        db_table = "accounts_session"
        indexes: ClassVar = [
            models.Index(fields=["user"], name="accounts_session_live", condition=models.Q(ended_at__isnull=True)),
            models.Index(fields=["expires_at"], name="accounts_session_expires"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def is_live(self, now: datetime) -> bool:
        """Whether it can still be used. One from before sessions had a greatest age may expire later than that."""
        oldest = now - timedelta(days=MAX_SESSION_DAYS)
        return self.ended_at is None and self.expires_at > now and self.created_at > oldest


class KnownAddress(models.Model):
    """An address from which a user has signed in: an IPv4 address or an IPv6 /64. See `password_checks`."""

    id = models.UUIDField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    network = models.CharField(max_length=43)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_known_address"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "network"], name="accounts_known_address_user"),
        ]
        indexes: ClassVar = [models.Index(fields=["seen_at"], name="accounts_known_address_seen")]

    def __str__(self) -> str:
        return self.network


class RefreshToken(models.Model):
    """One link in a session's chain of refresh tokens. The token itself is not stored, only its SHA-256.

    Only the newest link is unused, and its session expires with it.
    """

    id = models.UUIDField(primary_key=True)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    session_id: UUID

    class Meta:
        db_table = "accounts_refresh_token"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["token_hash"], name="accounts_refresh_token_hash"),
        ]
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="accounts_refresh_token_expires")]

    def __str__(self) -> str:
        return str(self.id)

    def is_in_grace(self, grace: timedelta, now: datetime) -> bool:
        """Whether it was used so shortly ago that its answer may have been lost."""
        return self.used_at is not None and self.used_at + grace >= now


class Code(models.Model):
    """A code or a token that works once. It is not stored, not even hashed: it follows from the id and a secret key.

    With `user` it is theirs; without, it belongs to whoever reads the mail of `email`, with an account or not.
    `tries` counts wrong guesses, `guesses` those of each requester, by address. `mails`: how often it was mailed.
    `is_long`: a code of letters and digits instead of six digits. `ended_at`: used, or followed by a newer one.
    `replaced_at`: a newer one was mailed since, but this one works until it expires.
    """

    id = models.UUIDField(primary_key=True)
    purpose = models.CharField(max_length=16)
    email = models.EmailField(max_length=MAX_EMAIL)
    email_key = models.CharField(max_length=MAX_EMAIL)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", null=True, db_index=False
    )
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    tries = models.SmallIntegerField(default=0)
    guesses = models.JSONField(null=True)
    mails = models.SmallIntegerField(default=1, db_default=1)
    is_long = models.BooleanField(default=False, db_default=False)
    ended_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)

    user_id: UUID | None

    class Meta:
        db_table = "accounts_code"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["email_key", "purpose"],
                name="accounts_code_of_address",
                condition=models.Q(ended_at__isnull=True, replaced_at__isnull=True, user__isnull=True),
            ),
            models.UniqueConstraint(
                fields=["user", "purpose"],
                name="accounts_code_of_user",
                condition=models.Q(ended_at__isnull=True, user__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["email_key", "created_at"], name="accounts_code_day"),
            models.Index(fields=["expires_at"], name="accounts_code_expires"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def is_nearly_over(self, now: datetime) -> bool:
        """Whether less than a quarter of its life is left: too little for someone who asks for a code now."""
        return self.expires_at - now < (self.expires_at - self.created_at) / 4

    def tries_of(self, requester: str) -> int:
        """How often this requester has guessed at it."""
        return int((self.guesses or {}).get(requester, 0))


class SignUp(models.Model):
    """An account that is made when its address is verified, where that is required. It keeps the name until then."""

    id = models.UUIDField(primary_key=True)
    username = models.CharField(max_length=MAX_USERNAME)
    username_key = models.CharField(max_length=MAX_USERNAME * LONGEST_FOLD)
    email = models.EmailField(max_length=MAX_EMAIL)
    email_key = models.CharField(max_length=MAX_EMAIL)
    password = models.CharField(max_length=128)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_signup"
        constraints: ClassVar = [models.UniqueConstraint(fields=["username_key"], name="accounts_signup_username")]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], name="accounts_signup_expires"),
            models.Index(fields=["email_key"], name="accounts_signup_email"),
        ]

    def __str__(self) -> str:
        return self.username
