"""Notices, and the times of the next digests."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models

from duely.notifications.rules import Kind, Outcome


class Notice(models.Model):
    """One mail to a user about one subject at one time. A constraint prevents a second one (decision 0009).

    `subject_id`: the task of a reminder, the user of a digest. `due_at`: the planned time. `attempted_at` is written
    before each attempt to send the mail, `ended_at` and `outcome` after the last one.
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
    """The time of a user's next digest. Each user who has chosen an hour has a row."""

    user_id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True)
    next_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "notifications_digest"

    def __str__(self) -> str:
        return str(self.user_id)
