"""Counts of one's own tasks, in one statement."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, adam, alice, bob, person, undone
from duely.core.clock import now, rfc3339
from duely.tasks.actions import mark_overdue
from duely.tasks.models import Task
from duely.tasks.rules import last_days, start_of_day

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    with contract.watch(), time_machine.travel(NOW, tick=False):
        yield


def stats(api: Api) -> dict[str, Any]:
    answer = api.get("tasks/stats/")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def made(api: Api, **fields: Any) -> str:
    answer = api.post("tasks/", {"title": "x", **fields})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def test_of_nothing_there_is_nothing() -> None:
    found = stats(Api(alice()))
    assert found == {
        "total": 0,
        "by_status": {"pending": 0, "in_progress": 0, "completed": 0, "cancelled": 0, "overdue": 0},
        "by_priority": {"low": 0, "medium": 0, "high": 0, "urgent": 0},
        "by_category": [],
        "overdue": 0,
        "due_today": 0,
        "completed_per_day": [
            {"date": f"{date(2026, 3, 1) + timedelta(days=number)}", "count": 0} for number in range(30)
        ],
    }


def test_counts_are_of_my_own_tasks_without_the_trash() -> None:
    me, other, boss = Api(alice()), Api(bob()), Api(adam())
    home, work = (me.post("categories/", {"name": name}).json()["id"] for name in ("Home", "Work"))
    made(other, category=other.post("categories/", {"name": "Home"}).json()["id"])
    made(me, category=home)
    made(me, category=home, priority="high", status="completed")
    made(me, category=work, priority="urgent", status="in_progress", due_date="2026-03-30")
    made(me, status="cancelled", due_date="2026-03-30")
    made(me, due_date="2026-03-31")
    me.delete(f"tasks/{made(me, category=home)}/")
    found = stats(me)
    assert found["total"] == 5
    assert found["by_status"] == {"pending": 2, "in_progress": 1, "completed": 1, "cancelled": 1, "overdue": 0}
    assert found["by_priority"] == {"low": 0, "medium": 3, "high": 1, "urgent": 1}
    counts = {row["category"]: row["count"] for row in found["by_category"]}
    assert counts == {home: 2, None: 2, work: 1}
    assert [row["count"] for row in found["by_category"]] == [2, 2, 1]
    assert found["due_today"] == 1
    assert found["completed_per_day"][-1] == {"date": "2026-03-30", "count": 1}
    assert stats(boss)["total"] == 0


def test_what_is_late_counts_before_it_is_marked() -> None:
    me = Api(alice())
    made(me, due_date="2026-03-30T13:00:00Z")
    made(me, due_date="2026-03-30T13:00:00Z", status="cancelled")
    with time_machine.travel(NOW + timedelta(hours=2)):
        me = Api(me.user)
        assert stats(me)["overdue"] == 1
        assert stats(me)["by_status"]["overdue"] == 0
        assert stats(me)["due_today"] == 1
        mark_overdue(now=now())
        assert stats(me)["overdue"] == 1
        assert stats(me)["by_status"]["overdue"] == 1
        assert stats(me)["due_today"] == 1


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Asia/Kathmandu"]
)
def test_days_are_those_of_my_time_zone(zone: str) -> None:
    """Also across the change of the clocks, which Berlin had on the 29th."""
    me = Api(person("zoe", time_zone=zone))

    @settings(max_examples=15, deadline=None, database=None)
    @given(st.lists(st.integers(-45 * 24 * 4, 48 * 4), min_size=1, max_size=8))
    def check(quarters: list[int]) -> None:
        with undone():
            moments = [NOW + timedelta(minutes=15 * number) for number in quarters]
            for at in moments:
                done = made(me, status="completed")
                made(me, due_date=rfc3339(at))
                Task.objects.filter(pk=done).update(completed_at=at)
            found = stats(me)
            days = [at.astimezone(ZoneInfo(zone)).date() for at in moments]
            today = NOW.astimezone(ZoneInfo(zone)).date()
            for row in found["completed_per_day"]:
                assert row["count"] == days.count(date.fromisoformat(row["date"]))
            assert len(found["completed_per_day"]) == 30
            assert found["completed_per_day"][-1]["date"] == f"{today}"
            assert found["due_today"] == days.count(today)
            assert found["overdue"] == sum(at <= NOW for at in moments)

    check()


def test_a_whole_day_is_due_on_that_day() -> None:
    me = Api(person("kiri", time_zone="Pacific/Kiritimati"))
    for day in ("2026-03-30", "2026-03-31", "2026-04-01"):
        made(me, due_date=day)
    assert stats(me)["due_today"] == 1  # there it is the 31st already
    assert stats(me)["overdue"] == 1


def test_the_days_of_a_zone() -> None:
    assert last_days(NOW, "Pacific/Kiritimati", 2) == [date(2026, 3, 30), date(2026, 3, 31)]
    assert last_days(NOW, "America/Los_Angeles", 1) == [date(2026, 3, 30)]
    assert start_of_day(date(2026, 3, 30), "Europe/Berlin") == datetime.combine(date(2026, 3, 29), time(22), UTC)


def test_it_takes_no_parameters() -> None:
    answer = Api(alice()).get("tasks/stats/?owner=x")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "unknown_parameter")
