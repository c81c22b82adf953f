"""What the limits of sign-in count where there is no Redis, and the addresses that are banned."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models

from duely.activity.actions import SYSTEM_LOG
from duely.guard.rules import MAX_REASON


class Hit(models.Model):
    """One request that was let through. `key` says whose, as a hash: addresses and e-mails have no business here."""

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
    """The fingerprint of the secret key that this database belongs to: one row. Processes with other keys refuse to
    start, since none of them could read what the others sign.
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
    """Addresses that get no answer but a refusal, until a time or for good. Rows stay when a ban is over."""

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
        """Its id in the change log."""
        return self.id

    @property
    def change_label(self) -> str:
        """What the change log calls it."""
        return self.network

    def stands(self, now: datetime) -> bool:
        """Whether it keeps anyone out."""
        return self.lifted_at is None and (self.until is None or self.until > now)
