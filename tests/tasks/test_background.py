"""What takes too long for one request: a new time zone of many whole days, the end of a category with many tasks."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import Api, alice, bob, log_of, person
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs import pace
from duely.jobs.models import WAITING, Job
from duely.jobs.queue import LeaseLost, claim
from duely.jobs.runner import execute, run_one
from duely.tasks import actions
from duely.tasks.actions import mark_overdue, zones
from duely.tasks.actions.categories import FEW
from duely.tasks.models import Category, Reminder, Task
from duely.tasks.rules import placed

pytestmark = pytest.mark.django_db
DAY = date(2030, 1, 31)
NOON = datetime(2030, 1, 31, 11, tzinfo=UTC)
"""On Kiritimati the 31st is over; in the zone of GMT+12 it has not begun."""
EAST, WEST = "Pacific/Kiritimati", "Etc/GMT+12"


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each job takes several transactions."""
    monkeypatch.setattr(pace, "FIRST_ROWS", 60)
    monkeypatch.setattr(pace, "MAX_ROWS", 60)


def fill(owner: Any, number: int, **columns: Any) -> None:
    """So many tasks. A whole day is placed by the owner's time zone."""
    day = columns.get("due_on")
    defaults = {
        "title": "x",
        "description": "",
        "status": "pending",
        "priority": 2,
        "tags": [],
        "tag_keys": [],
        "reminders": [],
        "created_at": now(),
        "updated_at": now(),
        "due_at": placed(day, owner.time_zone) if day else None,
    }
    Task.objects.bulk_create(Task(id=new_id(), owner_id=owner.id, **{**defaults, **columns}) for _ in range(number))


def run(name: str) -> None:
    """Run the waiting jobs of this name to their end."""
    for job_id in list(Job.objects.filter(WAITING, name=name).values_list("pk", flat=True)):
        assert run_one(job_id, "test")
        assert Job.objects.get(pk=job_id).state == "done"


def places(owner: Any) -> set[str]:
    return {at.isoformat() for at in Task.objects.filter(owner_id=owner.id).values_list("due_at", flat=True)}


def travelled(owner: Any, zone: str) -> dict[str, Any]:
    response = Api(owner).patch("profile/", {"time_zone": zone})
    assert response.status_code == 200, response.content
    return response.json()


@pytest.fixture
def traveller() -> Any:
    return person("alice", time_zone=EAST)


@pytest.mark.parametrize("number", [FEW, FEW + 1])
def test_few_days_move_with_the_profile_and_many_after_it(traveller: Any, number: int) -> None:
    fill(traveller, number, due_on=DAY)

    profile = travelled(traveller, WEST)

    assert (profile["time_zone"], profile["days_moving"]) == (WEST, number > FEW)
    run("tasks.move_days")
    assert places(traveller) == {placed(DAY, WEST).isoformat()}
    assert Api(traveller).get("profile/").json()["days_moving"] is False


def test_many_days_move_in_short_transactions(traveller: Any) -> None:
    fill(traveller, FEW + 50, due_on=DAY)
    fill(traveller, 50, due_on=date(2030, 2, 1), deleted_at=now())
    travelled(traveller, WEST)

    with CaptureQueriesContext(connection) as queries:
        run("tasks.move_days")

    moves = [query["sql"] for query in queries.captured_queries if "WITH moved" in query["sql"]]
    assert len(moves) >= 5
    assert places(traveller) == {placed(date(2030, *day), WEST).isoformat() for day in ((1, 31), (2, 1))}


def test_one_entry_stands_for_all_tasks_whose_status_changes() -> None:
    with time_machine.travel(NOON, tick=False):
        traveller = person("alice", time_zone=EAST)
        fill(traveller, FEW, due_on=DAY, status="overdue", former_status="in_progress")
        fill(traveller, 3, due_on=date(2030, 1, 20), status="overdue")
        fill(traveller, 3, due_on=DAY, status="completed", completed_at=now())
        travelled(traveller, WEST)

        run("tasks.move_days")

        changes = {"time_zone": [None, WEST], "tasks": [None, FEW + 6], "statuses": [None, FEW]}
        assert log_of(traveller) == [
            ("user.profile_updated", {"time_zone": [EAST, WEST]}),
            ("user.days_moved", {**changes, "since": [None, "2030-01-31T11:00:00.000Z"]}),
        ]
        statuses = Task.objects.values_list("status", "version")
        assert set(statuses) == {("in_progress", 2), ("overdue", 1), ("completed", 1)}
        assert Api(traveller).get("tasks/?updated_at__gte=2030-01-31T11:00:00Z&status=in_progress").json()["data"]


def test_a_zone_further_east_makes_many_overdue_with_one_entry() -> None:
    with time_machine.travel(NOON, tick=False):
        traveller = person("alice", time_zone=WEST)
        fill(traveller, FEW + 1, due_on=DAY)
        travelled(traveller, EAST)

        run("tasks.move_days")

        assert set(Task.objects.values_list("status", "former_status", "version")) == {("overdue", "pending", 2)}
        assert log_of(traveller)[-1][1]["statuses"] == [None, FEW + 1]
        assert mark_overdue(now=now()) == 0


def test_many_reminders_move_after_their_tasks(traveller: Any) -> None:
    fill(traveller, FEW + 1, due_on=DAY, reminders=["-P1D"])
    rows = [
        Reminder(id=new_id(), task=task, owner_id=traveller.id, text="-P1D", remind_at=task.due_at - timedelta(days=1))
        for task in Task.objects.all()
    ]
    Reminder.objects.bulk_create(rows)
    travelled(traveller, WEST)

    run("tasks.move_days")

    at = placed(DAY, WEST) - timedelta(days=1)
    assert set(Reminder.objects.values_list("remind_at", flat=True)) == {at}


def test_a_new_zone_while_days_move_wins(traveller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(traveller, FEW + 50, due_on=DAY)
    travelled(traveller, WEST)
    move, calls = actions.move_some_days, []

    def move_and_travel(**arguments: Any) -> bool:
        calls.append(arguments["progress"].zone)
        if len(calls) == 3:
            travelled(traveller, "Asia/Tokyo")
        return move(**arguments)

    monkeypatch.setattr(actions, "move_some_days", move_and_travel)
    run("tasks.move_days")

    assert calls[2:4] == [WEST, "Asia/Tokyo"]
    assert places(traveller) == {placed(DAY, "Asia/Tokyo").isoformat()}
    run("tasks.move_days")
    assert [action for action, _ in log_of(traveller)].count("user.days_moved") == 1
    assert Api(traveller).get("tasks/").headers.get("ETag")


def broken_after(calls: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, until its process dies."""
    left = [calls]

    def wrapped(**arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise LeaseLost("killed")
        return work(**arguments)

    return wrapped


@pytest.mark.parametrize("calls", range(8))
def test_a_move_that_was_broken_off_goes_on(traveller: Any, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(traveller, FEW + 50, due_on=DAY)
    travelled(traveller, WEST)
    with monkeypatch.context() as patch:
        patch.setattr(actions, "move_some_days", broken_after(calls, actions.move_some_days))
        [running] = claim("test", 1)
        execute(running)
    Job.objects.filter(pk=running.id, state="running").update(state="waiting", lease_until=None)

    run("tasks.move_days")

    assert places(traveller) == {placed(DAY, WEST).isoformat()}
    moved = [changes["tasks"] for action, changes in log_of(traveller) if action == "user.days_moved"]
    assert moved == [[None, FEW + 50]]


def test_lists_have_no_entity_tag_while_days_move(traveller: Any) -> None:
    fill(traveller, FEW + 1, due_on=DAY)
    me = Api(traveller)
    former = me.get("tasks/").headers["ETag"]
    travelled(traveller, WEST)

    assert me.get("tasks/", headers={"If-None-Match": former}).status_code == 200
    assert "ETag" not in me.get("tasks/").headers
    run("tasks.move_days")
    assert me.get("tasks/").headers["ETag"] != former


def large_category(me: Api, number: int = FEW + 50) -> dict[str, Any]:
    category: dict[str, Any] = me.post("categories/", {"name": "Home"}).json()
    fill(me.user, number, category_id=category["id"])
    fill(me.user, 1, category_id=category["id"], deleted_at=now())
    return category


def test_a_category_with_many_tasks_is_gone_at_once() -> None:
    me = Api(alice())
    category = large_category(me)
    path = f"categories/{category['id']}/"

    assert me.delete(path).status_code == 204

    assert me.get("categories/").json()["data"] == []
    assert me.get("categories/?page=1").json()["pagination"]["total"] == 0
    for method, body in [("GET", None), ("DELETE", None), ("PATCH", {"name": "x"}), ("PUT", {"name": "x"})]:
        assert me.call(method, path, body).status_code == 404
    assert me.post("tasks/", {"title": "x", "category": category["id"]}).status_code == 400
    operation = {"op": "create", "title": "x", "category": category["id"]}
    assert me.post("tasks/bulk/", {"operations": [operation]}).json()["results"][0]["status"] == 400
    assert me.post("tasks/quick/", {"text": "x #home"}).json()["category"] is None
    assert b"Home" not in b"".join(me.get("export/").streaming_content).split(b'"activity"')[0]
    assert me.post("categories/", {"name": "home"}).status_code == 201


def test_a_job_takes_many_tasks_out_of_a_deleted_category() -> None:
    me = Api(alice())
    category = large_category(me)
    me.delete(f"categories/{category['id']}/")

    with CaptureQueriesContext(connection) as queries:
        run("tasks.empty_category")

    assert sum("SET category_id = NULL" in query["sql"] for query in queries.captured_queries) >= 5
    assert set(Task.objects.values_list("category_id", "version")) == {(None, 2)}
    assert not Category.with_deleted.exists()
    actions_and_changes = log_of(me.user)
    assert actions_and_changes[1] == ("category.deleted", {"name": ["Home", None]})
    assert actions_and_changes[2][0] == "category.emptied"
    assert actions_and_changes[2][1]["tasks"] == [FEW + 51, 0]
    since = actions_and_changes[2][1]["since"][1]
    assert me.get(f"tasks/?updated_at__gte={since}&page=1").json()["pagination"]["total"] == FEW + 50


@pytest.mark.parametrize("calls", range(7))
def test_emptying_that_was_broken_off_goes_on(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    category = large_category(me)
    me.delete(f"categories/{category['id']}/")
    with monkeypatch.context() as patch:
        patch.setattr(actions, "take_some_out", broken_after(calls, actions.take_some_out))
        [running] = claim("test", 1)
        execute(running)
    Job.objects.filter(pk=running.id, state="running").update(state="waiting", lease_until=None)

    run("tasks.empty_category")

    assert not Category.with_deleted.exists()
    assert set(Task.objects.values_list("category_id", "version")) == {(None, 2)}
    assert [changes["tasks"] for action, changes in log_of(me.user) if action == "category.emptied"] == [[FEW + 51, 0]]


def test_lists_have_no_entity_tag_while_a_category_is_emptied() -> None:
    me = Api(alice())
    category = large_category(me)
    me.delete(f"categories/{category['id']}/")

    assert "ETag" not in me.get("tasks/").headers
    run("tasks.empty_category")
    assert "ETag" in me.get("tasks/").headers


def test_jobs_of_things_that_are_gone_end() -> None:
    from duely.jobs.queue import enqueue
    from duely.jobs.registry import named

    enqueue(named("tasks.empty_category"), category_id=str(new_id()))
    enqueue(named("tasks.move_days"), owner_id=str(bob().id))

    run("tasks.empty_category")
    run("tasks.move_days")


def test_progress_survives_json() -> None:
    progress = zones.Progress(zone=WEST, task=(DAY, UUID(int=1)), reminder=(NOON, UUID(int=2)), moved=3)

    assert zones.Progress.of(progress.kept()) == progress
