"""Shapes of `tasks/stats/`."""

from datetime import date
from uuid import UUID

import msgspec

from duely.tasks.rules import PRIORITIES, Priority, Status
from duely.tasks.stats import queries as stats_queries


class CategoryCount(msgspec.Struct, frozen=True):
    """The number of tasks in a category. `category` is null for tasks without one."""

    category: UUID | None
    count: int


class DayCount(msgspec.Struct, frozen=True):
    """The number of tasks completed on a day."""

    date: date
    count: int


class Stats(msgspec.Struct, frozen=True):
    """Numbers of your tasks. `overdue` includes late tasks that are not marked yet; `due_today` counts open tasks only.

    `completed_per_day` covers the last 30 days in your time zone; today is last.
    """

    total: int
    by_status: dict[Status, int]
    by_priority: dict[Priority, int]
    by_category: list[CategoryCount]
    overdue: int
    due_today: int
    completed_per_day: list[DayCount]


def show_stats(stats: stats_queries.Stats) -> Stats:
    """Counts as clients see them."""
    return Stats(
        total=sum(stats.statuses.values()),
        by_status={Status(name): number for name, number in stats.statuses.items()},
        by_priority={PRIORITIES[rank]: number for rank, number in stats.priorities.items()},
        by_category=[CategoryCount(*pair) for pair in sorted(stats.categories.items(), key=_most_first)],
        overdue=stats.overdue,
        due_today=stats.due_today,
        completed_per_day=[DayCount(*pair) for pair in stats.days.items()],
    )


def _most_first(counted: tuple[UUID | None, int]) -> tuple[int, str]:
    return -counted[1], str(counted[0])
