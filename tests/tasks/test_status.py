"""Statuses over HTTP: spellings, the `completed` shorthand, and what the system alone sets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cast import Api, adam, alice, faults, log_of
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db

PAST, FUTURE = "2020-01-31T09:00:00.000Z", "2099-01-31T09:00:00.000Z"


def made(api: Api, **fields: Any) -> dict[str, Any]:
    response = api.post("tasks/", {"title": "Milk", **fields})
    assert response.status_code == 201, response.content
    return response.json()


def overdue(api: Api, former: str | None = "in_progress") -> str:
    """The path of a task that the system has made overdue."""
    task = made(api, due_date=PAST)
    Task.objects.filter(pk=task["id"]).update(status="overdue", former_status=former)
    return f"tasks/{task['id']}/"


@pytest.mark.parametrize(
    "spelling, status",
    [
        ("PENDING", "pending"),
        ("In_Progress", "in_progress"),
        ("COMPLETED", "completed"),
        ("Cancelled", "cancelled"),
        ("todo", "pending"),
        ("TODO", "pending"),
        ("done", "completed"),
        ("Done", "completed"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_status_may_be_written_in_any_case_and_by_its_other_names(method: str, spelling: str, status: str) -> None:
    me = Api(alice())
    path = "tasks/" if method == "POST" else f"tasks/{made(me)['id']}/"
    assert me.call(method, path, {"title": "Milk", "status": spelling}).json()["status"] == status


@pytest.mark.parametrize("spelling", ["LOW", "Low", "low"])
def test_a_priority_may_be_written_in_any_case(spelling: str) -> None:
    assert made(Api(alice()), priority=spelling)["priority"] == "low"


@pytest.mark.parametrize("query", ["status=PENDING", "status=Todo", "status=done,PENDING", "priority=MEDIUM"])
def test_queries_take_them_in_any_case_too(query: str) -> None:
    me = Api(alice())
    task = made(me)
    made(me, status="cancelled", priority="low")
    assert [item["id"] for item in me.get(f"tasks/?{query}").json()["data"]] == [task["id"]]


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
def test_completed_mirrors_the_status(status: str) -> None:
    task = made(Api(alice()), status=status)
    assert task["completed"] is (status == "completed")
    assert task["completed_at"] == (task["created_at"] if status == "completed" else None)


@pytest.mark.parametrize("status", ["pending", "in_progress", "cancelled"])
def test_completed_true_completes_a_task(status: str) -> None:
    me = Api(alice())
    task = made(me, status=status)
    done = me.patch(f"tasks/{task['id']}/", {"completed": True}).json()
    assert (done["status"], done["completed"], done["completed_at"]) == ("completed", True, done["updated_at"])


def test_completed_false_opens_a_completed_task_again() -> None:
    me = Api(alice())
    task = made(me, completed=True)
    assert task["status"] == "completed"
    opened = me.patch(f"tasks/{task['id']}/", {"completed": False}).json()
    assert (opened["status"], opened["completed"], opened["completed_at"]) == ("pending", False, None)


@pytest.mark.parametrize("status", ["pending", "in_progress", "cancelled"])
def test_completed_false_changes_nothing_on_a_task_that_is_not_completed(status: str) -> None:
    me = Api(alice())
    task = made(me, status=status)
    assert me.patch(f"tasks/{task['id']}/", {"completed": False}).json() == task


def test_completed_false_makes_a_new_task_pending() -> None:
    assert made(Api(alice()), completed=False)["status"] == "pending"


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
def test_a_replaced_task_takes_the_default_status_that_completed_leaves_open(status: str) -> None:
    me = Api(alice())
    task = made(me, status=status)
    replaced = me.put(f"tasks/{task['id']}/", {"title": "Milk", "completed": False}).json()
    assert replaced["status"] == "pending"
    assert me.put(f"tasks/{task['id']}/", {"title": "Milk", "completed": True}).json()["status"] == "completed"


@pytest.mark.parametrize(
    "status, completed",
    [("pending", True), ("in_progress", True), ("cancelled", True), ("completed", False), ("done", False)],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_status_and_completed_may_not_contradict_each_other(method: str, status: str, completed: bool) -> None:
    me = Api(alice())
    task = made(me)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    response = me.call(method, path, {"title": "Bread", "status": status, "completed": completed})
    assert response.status_code == 400
    assert faults(response) == {"completed": "conflict"}
    assert me.get(f"tasks/{task['id']}/").json() == task


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
@pytest.mark.parametrize("before", ["pending", "in_progress", "completed", "cancelled"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_status_and_completed_may_agree_and_the_status_holds(method: str, before: str, status: str) -> None:
    me = Api(alice())
    task = made(me, status=before)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    changed = me.call(method, path, {"title": "Milk", "status": status, "completed": status == "completed"}).json()
    assert (changed["status"], changed["completed"]) == (status, status == "completed")


def test_to_complete_a_completed_task_keeps_the_time_of_the_first_completion() -> None:
    me = Api(alice())
    task = made(me, status="completed")
    assert me.patch(f"tasks/{task['id']}/", {"status": "done", "completed": True}).json() == task
    renamed = me.patch(f"tasks/{task['id']}/", {"title": "Bread", "status": "completed"}).json()
    assert renamed["completed_at"] == task["completed_at"]


def test_to_cancel_a_completed_task_clears_the_completion() -> None:
    me = Api(alice())
    task = made(me, status="completed")
    changed = me.patch(f"tasks/{task['id']}/", {"status": "cancelled"}).json()
    assert (changed["status"], changed["completed_at"]) == ("cancelled", None)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("due", [None, PAST])
def test_nobody_sets_overdue(method: str, due: str | None) -> None:
    me = Api(adam())
    task = made(me, due_date=due)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    response = me.call(method, path, {"title": "Bread", "due_date": due, "status": "overdue"})
    assert response.status_code == 400
    assert faults(response) == {"status": "not_settable"}
    assert me.get(f"tasks/{task['id']}/").json() == task


def test_overdue_is_accepted_where_it_stands_already() -> None:
    me = Api(alice())
    path = overdue(me)
    before = me.get(path).json()
    assert before["status"] == "overdue"
    assert me.patch(path, {"status": "OVERDUE"}).json() == before
    read_only = ("id", "owner", "completed_at", "version", "created_at", "updated_at", "deleted_at")
    assert me.put(path, {name: value for name, value in before.items() if name not in read_only}).json() == before
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


@pytest.mark.parametrize("due", [FUTURE, "2099-01-31", None])
@pytest.mark.parametrize("former", ["pending", "in_progress"])
def test_an_overdue_task_goes_back_to_what_it_was_when_its_due_date_moves(former: str, due: str | None) -> None:
    me = Api(alice())
    path = overdue(me, former)
    assert me.patch(path, {"due_date": due}).json()["status"] == former
    (action, changes) = log_of(me.user)[-1]
    assert action == "task.status_changed"
    assert changes == {"status": ["overdue", former], "due_date": [PAST, due]}


def test_an_overdue_task_without_a_memory_becomes_pending() -> None:
    me = Api(alice())
    assert me.patch(overdue(me, None), {"due_date": FUTURE}).json()["status"] == "pending"


@pytest.mark.parametrize("due", ["2020-02-01T00:00:00Z", "2020-02-01", PAST])
def test_an_overdue_task_stays_so_while_its_due_date_is_past(due: str) -> None:
    me = Api(alice())
    assert me.patch(overdue(me), {"due_date": due, "title": "Bread"}).json()["status"] == "overdue"


def test_an_overdue_task_stays_so_when_something_else_changes() -> None:
    me = Api(alice())
    path = overdue(me)
    assert me.patch(path, {"title": "Bread"}).json()["status"] == "overdue"
    assert me.patch(path, {"due_date": FUTURE}).json()["status"] == "in_progress"


def test_an_overdue_task_remembers_what_it_was_asked_to_become() -> None:
    me = Api(alice())
    path = overdue(me, "pending")
    assert me.patch(path, {"status": "in_progress"}).json()["status"] == "overdue"
    assert me.patch(path, {"due_date": FUTURE}).json()["status"] == "in_progress"


@pytest.mark.parametrize("body", [{"status": "completed"}, {"completed": True}, {"status": "done", "due_date": FUTURE}])
def test_an_overdue_task_can_be_completed(body: dict[str, Any]) -> None:
    me = Api(alice())
    done = me.patch(overdue(me), body).json()
    assert (done["status"], done["completed_at"]) == ("completed", done["updated_at"])


def test_an_overdue_task_can_be_cancelled() -> None:
    me = Api(alice())
    assert me.patch(overdue(me), {"status": "cancelled"}).json()["status"] == "cancelled"


def test_completed_false_leaves_an_overdue_task_overdue() -> None:
    me = Api(alice())
    path = overdue(me)
    before = me.get(path).json()
    assert me.patch(path, {"completed": False}).json() == before


def test_the_database_itself_holds_status_and_completion_together() -> None:
    from django.db import IntegrityError, transaction

    me = Api(alice())
    task = Task.objects.get(pk=made(me)["id"])
    for columns in (
        {"status": "completed"},
        {"completed_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"status": "finished"},
        {"priority": 5},
        {"title": ""},
        {"due_on": "2026-01-01"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Task.objects.filter(pk=task.pk).update(**columns)
