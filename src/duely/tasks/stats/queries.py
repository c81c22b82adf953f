"""Counts of the tasks of one user."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, pairwise
from typing import Any
from uuid import UUID

from django.db import connection

from duely.core.actor import Actor
from duely.core.permissions import Permission
from duely.core.scopes import own_scope
from duely.tasks.queries import instant, task_key
from duely.tasks.rules import PRIORITIES, Status, last_days, start_of_day


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of someone's tasks. `days` are the last days with what was completed on each, the oldest first."""

    statuses: Mapping[str, int]
    priorities: Mapping[int, int]
    categories: Mapping[UUID | None, int]
    overdue: int
    due_today: int
    days: Mapping[date, int]


def own_stats(actor: Actor, now: datetime) -> Stats:
    """Of the actor's own tasks, without those in the trash; days are those of their time zone. One statement.

    Raises Forbidden (403).
    """
    condition, owners = own_scope(actor, Permission.TASK_VIEW).sql()
    days = last_days(now, actor.zone, STATS_DAYS)
    starts = [start_of_day(day, actor.zone) for day in (*days, days[-1] + timedelta(days=1))]
    spans = [(number, *map(instant, span)) for number, span in enumerate(pairwise(starts))]
    today, morrow, at = instant(starts[-2]), instant(starts[-1]), instant(now)
    moment = "%s::timestamptz" if connection.vendor == "postgresql" else "%s"
    sql = _STATS.format(own=condition, days=", ".join([f"(%s, {moment}, {moment})"] * len(days)))
    values = (*map(task_key, owners), instant(starts[0]), *chain.from_iterable(spans))
    counted: dict[str, dict[Any, int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(sql, (*values, at, today, morrow))
        for kind, name, number in cursor.fetchall():
            counted[kind][name] = number
    return Stats(
        statuses={status.value: counted["status"].get(status.value, 0) for status in Status},
        priorities={rank: counted["priority"].get(str(rank), 0) for rank in PRIORITIES},
        categories={UUID(name) if name else None: number for name, number in counted["category"].items()},
        overdue=counted["overdue"][None],
        due_today=counted["due_today"][None],
        days={day: counted["completed"].get(str(number), 0) for number, day in enumerate(days)},
    )


_STATS = """
    WITH mine AS (
        SELECT status, priority, category_id, due_at, completed_at FROM tasks_task
        WHERE deleted_at IS NULL {own}
    ), lately AS (SELECT completed_at FROM mine WHERE completed_at >= %s),
    days (number, start, finish) AS (VALUES {days})
    SELECT 'status', status, count(*) FROM mine GROUP BY status
    UNION ALL SELECT 'priority', CAST(priority AS text), count(*) FROM mine GROUP BY priority
    UNION ALL SELECT 'category', CAST(category_id AS text), count(*) FROM mine GROUP BY category_id
    UNION ALL SELECT 'completed', CAST(number AS text), count(*) FROM days JOIN lately
        ON completed_at >= start AND completed_at < finish GROUP BY number
    UNION ALL SELECT 'overdue', NULL, count(*) FROM mine
        WHERE status = 'overdue' OR (status IN ('pending', 'in_progress') AND due_at <= %s)
    UNION ALL SELECT 'due_today', NULL, count(*) FROM mine
        WHERE status IN ('pending', 'in_progress', 'overdue') AND due_at >= %s AND due_at < %s"""
STATS_DAYS = 30
