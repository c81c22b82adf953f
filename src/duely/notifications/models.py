"""What was or will be told to whom, and when the next digests are due."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models

from duely.notifications.rules import Kind, Outcome


class Notice(models.Model):
    """One mail to one person about one thing at one instant: there can be no second one.

    `subject_id` is the task of a reminder, the user of a digest; `due_at` the instant that it was meant for.
    `attempted_at` is written before each attempt to send it, `ended_at` with the `outcome` after the last.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True)
    kind = models.CharField(max_length=16)
    subject_id: "models.UUIDField[UUID, UUID]" = models.UUIDField()
    due_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    recipient_id: "models.UUIDField[UUID, UUID]" = models.UUIDField()
    created_at = models.DateTimeField()
    attempts = models.IntegerField()
    attempted_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=16)

    class Meta:
        db_table = "notifications_notice"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subject_id", "due_at", "recipient_id", "kind"], name="notifications_notice_once"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=[kind.value for kind in Kind]), name="notifications_notice_kind"
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True, outcome="")
                | models.Q(ended_at__isnull=False, outcome__in=[outcome.value for outcome in Outcome]),
                name="notifications_notice_ended",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="notifications_notice_created"),
            models.Index(
                fields=["recipient_id"],
                name="notifications_notice_open",
                condition=models.Q(ended_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"


class Digest(models.Model):
    """When someone's next digest is due. There is a row for everyone who has chosen an hour."""

    user_id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True)
    next_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "notifications_digest"

    def __str__(self) -> str:
        return str(self.user_id)
