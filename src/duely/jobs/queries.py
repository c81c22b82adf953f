"""Reads of the queue."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Min, QuerySet
from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime
from django.utils.timezone import make_aware

from duely.jobs.models import RUNNING, WAITING, Job
from duely.jobs.rules import State


def database_now() -> datetime:
    """The time by the database's clock. Leases and schedules use it, because the clocks of nodes may differ."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
            return now
        cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        parsed = parse_datetime(cursor.fetchone()[0])
        assert parsed is not None  # noqa: S101 - the statement above fixes the format
        return make_aware(parsed)


def due_jobs(*, urgent: bool, names: Sequence[str]) -> QuerySet[Job]:
    """Due jobs of these names, the longest waiting first.

    Urgent and other jobs are read separately, so that each read is one range of the index.
    """
    # Django writes `urgent=True` as `urgent` without a comparison, for which SQLite does not use the index.
    return Job.objects.filter(WAITING, urgent__in=[urgent], run_at__lte=Now(), name__in=names).order_by("run_at", "id")


def expired_jobs() -> QuerySet[Job]:
    """Running jobs whose lease has ended."""
    return Job.objects.filter(RUNNING, lease_until__lt=Now()).order_by("lease_until")


def time_to_next(names: Sequence[str]) -> timedelta | None:
    """The time until the next job of these names becomes due, or None if no job waits for its time."""
    future_jobs = Job.objects.filter(WAITING, run_at__gt=Now(), name__in=names).order_by("run_at")
    # Two reads of one index entry each; one read without `urgent` would scan the index.
    next_times = [
        *future_jobs.filter(urgent__in=[True]).values_list("run_at", flat=True)[:1],
        *future_jobs.filter(urgent__in=[False]).values_list("run_at", flat=True)[:1],
    ]
    return min(next_times) - database_now() if next_times else None


def counts(*, state: State | None = None, name: str | None = None) -> dict[tuple[str, State], int]:
    """The number of jobs by name and state, optionally of one state or one name."""
    jobs = _filtered_jobs(state, name)
    rows = jobs.values_list("name", "state").annotate(number=Count("pk")).order_by("name", "state")
    return {(job_name, State(job_state)): number for job_name, job_state, number in rows}


def latest_jobs(*, state: State | None, name: str | None, limit: int) -> list[Job]:
    """The newest jobs, optionally of one state or one name."""
    return list(_filtered_jobs(state, name).order_by("-id")[:limit])


def _filtered_jobs(state: State | None, name: str | None) -> QuerySet[Job]:
    jobs = Job.objects.all()
    if state is not None:
        jobs = jobs.filter(state=state.value)
    return jobs if name is None else jobs.filter(name=name)


def oldest_wait() -> timedelta | None:
    """How long the oldest due job has been waiting, or None if no job is due."""
    oldest_run_at = Job.objects.filter(WAITING, run_at__lte=Now()).aggregate(oldest=Min("run_at"))["oldest"]
    return None if oldest_run_at is None else database_now() - oldest_run_at
