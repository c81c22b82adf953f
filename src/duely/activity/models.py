"""The change log and its counters."""

from typing import Any, ClassVar

import msgspec
from django.db import models


class JSONTextField(models.JSONField):
    """JSON that is stored, and may be passed on, as text: no query looks into it."""

    def db_type(self, connection: Any) -> str | None:
        """The column's type."""
        return "text" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """As compact as it goes."""
        return None if value is None else msgspec.json.encode(value).decode()

    def deconstruct(self) -> Any:
        """For migrations any JSON: that of the table changes the column itself."""
        name, _, positional, named = super().deconstruct()
        return name, "django.db.models.JSONField", positional, named


class Counter(models.Model):
    """The number of the last change in one owner's log.

    background: how many jobs change things of the owner at the moment, with one entry in the log at their end.
    """

    owner_id = models.UUIDField(primary_key=True)
    seq = models.BigIntegerField()
    background = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "activity_counter"

    def __str__(self) -> str:
        return f"{self.owner_id}: {self.seq}"


class Change(models.Model):
    """One change of one thing. Rows are only ever added: triggers refuse UPDATE and DELETE.

    Owner, actor and target are ids without foreign keys: the log outlives what it tells of.
    """

    id = models.UUIDField(primary_key=True)
    owner_id = models.UUIDField()
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=64)
    target_type = models.CharField(max_length=32)
    target_id = models.UUIDField(null=True)
    target_label = models.CharField(max_length=255)
    changes = JSONTextField()
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=255)
    request_id = models.CharField(max_length=128)

    class Meta:
        db_table = "activity_change"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner_id", "seq"], name="activity_change_owner_seq"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner_id", "target_id", "seq"], name="activity_change_target"),
            models.Index(fields=["owner_id", "at", "seq"], name="activity_change_owner_at"),
            models.Index(fields=["at", "id"], name="activity_change_at"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_label}"
