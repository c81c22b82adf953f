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
    """The database's clock, the one that leases and schedules go by: nodes may differ, it does not."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            told: datetime = cursor.fetchone()[0]
            return told
        cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        parsed = parse_datetime(cursor.fetchone()[0])
        assert parsed is not None  # noqa: S101 - the format is the line above
        return make_aware(parsed)


def due_jobs(*, urgent: bool, names: Sequence[str]) -> QuerySet[Job]:
    """Jobs of these names whose time has come, the longest waiting first. Each of the two halves is one index range."""
    # `urgent=True` would become a condition without a comparison, which is not what SQLite looks for in an index.
    return Job.objects.filter(WAITING, urgent__in=[urgent], run_at__lte=Now(), name__in=names).order_by("run_at", "id")


def expired_jobs() -> QuerySet[Job]:
    """Jobs whose worker let the lease run out."""
    return Job.objects.filter(RUNNING, lease_until__lt=Now()).order_by("lease_until")


def time_to_next(names: Sequence[str]) -> timedelta | None:
    """How long until the next job of these names that is not due yet; None when there is none."""
    later = Job.objects.filter(WAITING, run_at__gt=Now(), name__in=names).order_by("run_at")
    firsts = [
        *later.filter(urgent__in=[True]).values_list("run_at", flat=True)[:1],
        *later.filter(urgent__in=[False]).values_list("run_at", flat=True)[:1],
    ]
    return min(firsts) - database_now() if firsts else None


def counts(*, state: State | None = None, name: str | None = None) -> dict[tuple[str, State], int]:
    """How many jobs there are, by name and state; of one state or name alone when it is given."""
    jobs = _chosen(state, name)
    rows = jobs.values_list("name", "state").annotate(number=Count("pk")).order_by("name", "state")
    return {(job_name, State(in_state)): number for job_name, in_state, number in rows}


def latest_jobs(*, state: State | None, name: str | None, limit: int) -> list[Job]:
    """Jobs for people to look at, the newest first."""
    return list(_chosen(state, name).order_by("-id")[:limit])


def _chosen(state: State | None, name: str | None) -> QuerySet[Job]:
    """Jobs of a state and a name; None stands for all."""
    jobs = Job.objects.all()
    if state is not None:
        jobs = jobs.filter(state=state.value)
    return jobs if name is None else jobs.filter(name=name)


def oldest_wait() -> timedelta | None:
    """For how long the longest waiting job that is due has waited; None when none is due."""
    first = Job.objects.filter(WAITING, run_at__lte=Now()).aggregate(first=Min("run_at"))["first"]
    return database_now() - first if first is not None else None
