"""The sweep that makes late tasks overdue, and what people then see of it."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, alice, bob, log_of, person
from duely.activity.models import Change
from duely.core.actor import Actor, Origin
from duely.core.clock import now
from duely.core.ids import new_id
from duely.tasks import statements
from duely.tasks.actions import SWEEP, create_task, mark_overdue
from duely.tasks.models import Reminder, Task

pytestmark = pytest.mark.django_db

PAST, FUTURE = "2020-01-31T09:00:00.000Z", "2099-01-31T09:00:00.000Z"
DUE = datetime(2020, 1, 31, 9, tzinfo=UTC)


def made(api: Api, due: str | None = PAST, **fields: Any) -> str:
    """The path of a new task."""
    response = api.post("tasks/", {"title": "Milk", "due_date": due, **fields})
    assert response.status_code == 201, response.content
    return f"tasks/{response.json()['id']}/"


def status(api: Api, path: str) -> str:
    return api.get(path).json()["status"]


@pytest.mark.parametrize("former", ["pending", "in_progress"])
def test_an_open_task_past_its_due_date_becomes_overdue(former: str) -> None:
    me = Api(alice())
    path = made(me, status=former, tags=["a"])
    before, at = me.get(path).json(), now()
    assert mark_overdue(now=at) == 1
    after = me.get(path).json()
    assert after == before | {"status": "overdue", "version": 2, "updated_at": after["updated_at"]}
    assert Task.objects.get().updated_at == at
    assert Task.objects.get().former_status == former


def test_the_system_records_it() -> None:
    me = Api(alice())
    path = made(me)
    mark_overdue(now=now())
    (entry, _) = me.get("activity-logs/").json()["data"]
    assert (entry["seq"], entry["action"], entry["actor"]) == (2, "task.status_changed", None)
    assert entry["changes"] == {"status": ["pending", "overdue"]}
    assert path == f"tasks/{entry['target']['id']}/"
    assert entry["target"]["label"] == "Milk"


@pytest.mark.parametrize(
    "late, expected",
    [(timedelta(milliseconds=-1), "pending"), (timedelta(), "overdue"), (timedelta(days=400), "overdue")],
)
def test_a_task_is_late_from_the_very_instant_that_it_was_due(late: timedelta, expected: str) -> None:
    me = Api(alice())
    path = made(me)
    mark_overdue(now=DUE + late)
    assert status(me, path) == expected


@pytest.mark.parametrize("zone, end", [("Asia/Tokyo", "15:00"), ("UTC", "00:00+1"), ("America/New_York", "04:00+1")])
def test_a_whole_day_ends_in_its_owners_zone(zone: str, end: str) -> None:
    me = Api(person("alice", time_zone=zone))
    path = made(me, "2026-06-30")
    hour, _, following = end.partition(":00")
    ends = datetime(2026, 6, 30, int(hour), tzinfo=UTC) + timedelta(days=1 if following else 0)
    assert mark_overdue(now=ends - timedelta(milliseconds=2)) == 0
    assert mark_overdue(now=ends) == 1
    assert status(me, path) == "overdue"


def test_other_tasks_stay_as_they_are() -> None:
    me = Api(alice())
    paths = [made(me, FUTURE), made(me, None), made(me, status="completed"), made(me, status="cancelled")]
    trashed = made(me)
    me.delete(trashed)
    before = [me.get(path).json() for path in paths]
    assert mark_overdue(now=now()) == 0
    assert [me.get(path).json() for path in paths] == before
    assert Task.objects.get(deleted_at__isnull=False).status == "pending"
    assert Change.objects.filter(actor_id=None).count() == 0


def test_a_second_sweep_finds_nothing_new() -> None:
    me = Api(alice())
    path = made(me)
    assert [mark_overdue(now=now()) for _ in range(3)] == [1, 0, 0]
    assert me.get(path).json()["version"] == 2
    assert len(log_of(me.user)) == 2


def test_what_was_late_for_years_is_found_as_well() -> None:
    """By state and not by window: nothing is missed while no sweep runs."""
    me = Api(alice())
    made(me, "1900-01-01")
    assert mark_overdue(now=now()) == 1


def test_the_longest_late_come_first_and_no_more_than_asked() -> None:
    me, other = Api(alice()), Api(bob())
    paths = [
        made(api, f"2020-01-{day:02}T00:00:00Z") for day, api in ((3, me), (1, other), (2, me), (5, other), (4, me))
    ]
    assert mark_overdue(now=now(), limit=3) == 3
    admin = Api(person("adam", role="admin"))
    assert [status(admin, path) for path in paths] == ["overdue", "overdue", "overdue", "pending", "pending"]
    assert [mark_overdue(now=now(), limit=3) for _ in range(2)] == [2, 0]
    for api in (me, other):
        assert list(Change.objects.filter(owner_id=api.user.id).order_by("seq").values_list("seq", flat=True)) == list(
            range(1, 1 + len(log_of(api.user)))
        )


@pytest.mark.parametrize(
    "body, restored", [({"due_date": FUTURE}, True), ({"due_date": None}, True), ({"title": "Rye"}, False)]
)
@pytest.mark.parametrize("former", ["pending", "in_progress"])
def test_a_task_goes_back_to_what_it_was_when_its_due_date_moves(
    former: str, body: dict[str, Any], restored: bool
) -> None:
    me = Api(alice())
    path = made(me, status=former)
    mark_overdue(now=now())
    assert me.patch(path, body).json()["status"] == (former if restored else "overdue")
    assert mark_overdue(now=now()) == 0
    assert Task.objects.get().former_status == (None if restored else former)


@pytest.mark.parametrize("asked", ["completed", "cancelled"])
def test_an_overdue_task_can_be_finished_and_stays_so(asked: str) -> None:
    me = Api(alice())
    path = made(me)
    mark_overdue(now=now())
    assert me.patch(path, {"status": asked}).json()["status"] == asked
    assert mark_overdue(now=now()) == 0
    assert status(me, path) == asked


def test_a_finished_task_that_is_open_again_and_late_becomes_overdue_again() -> None:
    me = Api(alice())
    path = made(me)
    mark_overdue(now=now())
    me.patch(path, {"completed": True})
    me.patch(path, {"completed": False})
    assert mark_overdue(now=now()) == 1
    assert status(me, path) == "overdue"


def test_a_new_time_zone_in_which_the_day_has_not_ended_takes_overdue_back() -> None:
    with time_machine.travel(datetime(2030, 1, 31, 11, tzinfo=UTC), tick=False):
        me = Api(person("alice", time_zone="Pacific/Kiritimati"))
        today, working = made(me, "2030-01-31"), made(me, "2030-01-31", status="in_progress")
        long_ago, instant, deleted = made(me, "2030-01-20"), made(me, PAST), made(me, "2030-01-31")
        assert mark_overdue(now=now()) == 5
        me.delete(deleted)
        assert me.patch("profile/", {"time_zone": "Etc/GMT+12"}).status_code == 200
        paths = (today, working, long_ago, instant)
        assert [status(me, path) for path in paths] == ["pending", "in_progress", "overdue", "overdue"]
        assert Task.objects.get(deleted_at__isnull=False).status == "overdue"
        assert me.get(working).json()["version"] == 3
        *_, moved, last = log_of(me.user)
        counts = {"tasks": [None, 4], "statuses": [None, 2], "since": [None, "2030-01-31T11:00:00.000Z"]}
        assert moved == ("user.days_moved", {"time_zone": [None, "Etc/GMT+12"], **counts})
        assert last == ("user.profile_updated", {"time_zone": ["Pacific/Kiritimati", "Etc/GMT+12"]})
        assert Change.objects.filter(action="task.status_changed", actor_id=None).count() == 5
        assert mark_overdue(now=now()) == 0


def test_a_new_time_zone_leaves_what_is_in_the_trash_as_it_was() -> None:
    with time_machine.travel(datetime(2030, 1, 31, 11, tzinfo=UTC), tick=False):
        me = Api(person("alice", time_zone="Pacific/Kiritimati"))
        path = made(me, "2030-01-31")
        assert mark_overdue(now=now()) == 1
        me.delete(path)
        assert me.patch("profile/", {"time_zone": "Etc/GMT+12"}).status_code == 200
        assert Task.objects.get().status == "overdue"


def test_a_new_time_zone_costs_the_same_few_statements_for_any_number_of_days(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(days: int) -> int:
        me = Api(person(f"alice{days}", time_zone="Pacific/Kiritimati"))
        for number in range(days):
            made(me, f"2030-02-{number + 1:02}", reminders=["-P1D", "-PT1H"])
        with CaptureQueriesContext(connection) as queries:
            assert me.patch("profile/", {"time_zone": "Etc/GMT+12"}).status_code == 200
        rows = Reminder.objects.filter(owner_id=me.user.id).values_list("task__due_at", "text", "remind_at")
        lengths = {"-P1D": timedelta(days=1), "-PT1H": timedelta(hours=1)}
        assert [due_at - at for due_at, text, at in rows if lengths[text] != due_at - at] == []
        assert min(due_at for due_at, _, _ in rows) == datetime(2030, 2, 2, 11, 59, 59, 999000, tzinfo=UTC)
        return len(queries)

    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False):
        few = cost(1)
        assert cost(9) == few
        monkeypatch.setattr(statements, "ROWS", 4)
        assert cost(8) > few


def test_a_new_time_zone_takes_overdue_back_however_many_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "ROWS", 2)
    with time_machine.travel(datetime(2030, 1, 31, 11, tzinfo=UTC), tick=False):
        me = Api(person("alice", time_zone="Pacific/Kiritimati"))
        paths = [made(me, "2030-01-31") for _ in range(5)]
        assert mark_overdue(now=now()) == 5
        assert me.patch("profile/", {"time_zone": "Etc/GMT+12"}).status_code == 200
        assert {status(me, path) for path in paths} == {"pending"}


@pytest.mark.parametrize("tasks", [1, 20, SWEEP])
def test_a_call_costs_the_same_few_statements_for_any_number_of_tasks(tasks: int) -> None:
    people = [person(f"person{number}") for number in range(min(tasks, 5))]
    first = Task.objects.get(pk=made(Api(people[0])).split("/")[1])
    columns = {field.attname: getattr(first, field.attname) for field in Task._meta.concrete_fields}
    owners = itertools.cycle(someone.id for someone in people)
    rows = [Task(**columns | {"id": new_id(), "owner_id": next(owners)}) for _ in range(tasks - 1)]
    Task.objects.bulk_create(rows)
    with CaptureQueriesContext(connection) as queries:
        assert mark_overdue(now=now()) == tasks
    assert len(queries) == 6, [query["sql"][:80] for query in queries]
    with CaptureQueriesContext(connection) as queries:
        assert mark_overdue(now=now()) == 0
    assert len(queries) == 3


def test_a_task_that_is_made_late_is_overdue_after_the_next_sweep() -> None:
    me = alice()
    actor = Actor(id=me.id, name="alice", role="member", session_id=None, zone="UTC", origin=Origin())
    task = create_task(actor=actor, fields={"title": "x", "due_date": DUE}, now=now())
    assert task.status == "pending"
    assert mark_overdue(now=now()) == 1
