"""The change log and its counters."""

from typing import Any, ClassVar

import msgspec
from django.db import models

from duely.core import quotas


class JSONTextField(models.JSONField):
    """JSON that is stored as text on PostgreSQL too, because no query reads its contents."""

    def db_type(self, connection: Any) -> str | None:
        """The type of the column."""
        # Parsing a page of a hundred long changes as jsonb took 1.5 s (decision 0018).
        return "text" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """The value as compact JSON."""
        return None if value is None else msgspec.json.encode(value).decode()

    def deconstruct(self) -> Any:
        """Appear as a JSONField in migrations. The type of the column was changed by a migration of its own."""
        name, _, positional, named = super().deconstruct()
        return name, "django.db.models.JSONField", positional, named


class Counter(models.Model):
    """The number of the last entry in an owner's log.

    background: the number of running jobs that change the owner's data, each with one entry in the log at its end.
    tasks, categories: the numbers of stored objects. Their limits are those at the last addition, so that after a
    lowered quota the owner can still change and delete objects (decision 0036).
    """

    owner_id = models.UUIDField(primary_key=True)
    seq = models.BigIntegerField()
    background = models.SmallIntegerField(default=0, db_default=0)
    tasks = models.IntegerField(default=0, db_default=0)
    tasks_limit = models.IntegerField(default=quotas.TASKS, db_default=quotas.TASKS)
    categories = models.IntegerField(default=0, db_default=0)
    categories_limit = models.IntegerField(default=quotas.CATEGORIES, db_default=quotas.CATEGORIES)

    class Meta:
        db_table = "activity_counter"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(tasks__lte=models.F("tasks_limit")), name="activity_counter_tasks"
            ),
            models.CheckConstraint(
                condition=models.Q(categories__lte=models.F("categories_limit")), name="activity_counter_categories"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.owner_id}: {self.seq}"


class Change(models.Model):
    """One change of one object. Triggers refuse UPDATE and DELETE.

    Owner, actor and target are ids without foreign keys, because entries are kept after their objects are deleted.
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
