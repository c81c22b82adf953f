"""Jobs and schedules."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import models

from duely.jobs.rules import State

WAITING = models.Q(state=State.WAITING.value)
RUNNING = models.Q(state=State.RUNNING.value)


class Job(models.Model):
    """A job in the queue.

    A worker that takes a job gets a lease and the next fencing number, `fence`. Its writes count only while the row
    still has this number. `losses` counts lost workers: with `rules.SUSPECT_LOSSES` of them the job runs in a process
    of its own. `handed_at` is the time when the id was sent to Celery. Only one job with the same `key` can wait.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=100)
    args: "models.JSONField[Any, Any]" = models.JSONField()
    key = models.CharField(max_length=255, null=True)
    state = models.CharField(max_length=8)
    urgent = models.BooleanField()
    run_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    attempts = models.IntegerField()
    fence = models.IntegerField()
    losses = models.SmallIntegerField()
    worker = models.CharField(max_length=100)
    lease_until = models.DateTimeField(null=True)
    handed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField()

    class Meta:
        db_table = "jobs_job"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key"], condition=WAITING, name="jobs_job_one_waits"),
            models.CheckConstraint(
                condition=models.Q(state__in=[state.value for state in State]), name="jobs_job_state"
            ),
            models.CheckConstraint(
                condition=models.Q(RUNNING, lease_until__isnull=False) | models.Q(~RUNNING, lease_until__isnull=True),
                name="jobs_job_leased",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["urgent", "run_at", "id"], name="jobs_job_waiting", condition=WAITING),
            models.Index(fields=["lease_until"], name="jobs_job_running", condition=RUNNING),
            models.Index(fields=["state", "finished_at"], name="jobs_job_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class Schedule(models.Model):
    """The next time of a scheduled job."""

    name = models.CharField(max_length=100, primary_key=True)
    next_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()

    class Meta:
        db_table = "jobs_schedule"

    def __str__(self) -> str:
        return self.name
