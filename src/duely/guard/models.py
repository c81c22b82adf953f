"""The tables of rate limits that are counted in the database, of bans, and of the secret key's fingerprint."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models

from duely.activity.actions import SYSTEM_LOG
from duely.guard.rules import MAX_REASON


class Hit(models.Model):
    """One accepted request. `key` is a hash of the caller, so that no address or e-mail is stored here."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        db_table = "guard_hit"
        indexes: ClassVar = [
            models.Index(fields=["key", "at"], name="guard_hit_key"),
            models.Index(fields=["at"], name="guard_hit_at"),
        ]

    def __str__(self) -> str:
        return self.key


class InstalledKey(models.Model):
    """The fingerprint of the secret key that belongs to this database, in one row.

    A process with another key refuses to start, because tokens signed with one key are invalid with the other.
    """

    id = models.SmallIntegerField(primary_key=True)
    fingerprint = models.CharField(max_length=16)
    since = models.DateTimeField()

    class Meta:
        db_table = "guard_installed_key"
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="guard_installed_key_one")]

    def __str__(self) -> str:
        return self.fingerprint


class Ban(models.Model):
    """A network whose requests are refused, until a time or permanently. The row stays when the ban ends."""

    id = models.UUIDField(primary_key=True)
    network = models.CharField(max_length=43)
    reason = models.CharField(max_length=MAX_REASON)
    until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True)
    automatic = models.BooleanField()
    created_by = models.UUIDField(null=True)
    created_by_name = models.CharField(max_length=150)

    change_type = "ban"
    change_owner_id = SYSTEM_LOG

    class Meta:
        db_table = "guard_ban"
        indexes: ClassVar = [
            models.Index(fields=["network", "created_at"], name="guard_ban_network"),
            models.Index(fields=["created_at", "id"], name="guard_ban_created_at"),
            models.Index(fields=["until", "id"], name="guard_ban_until"),
        ]

    def __str__(self) -> str:
        return self.network

    @property
    def change_id(self) -> UUID:
        """The id of the ban in the change log."""
        return self.id

    @property
    def change_label(self) -> str:
        """The name of the ban in the change log."""
        return self.network

    def is_active(self, now: datetime) -> bool:
        """Whether the ban is in force."""
        return self.lifted_at is None and (self.until is None or self.until > now)
