"""What it costs the database to make, read, change and list a task: how many statements, and which."""

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from cast import Api, alice, bob, log_of
from duely.activity.actions import Nobody, follow, record
from duely.activity.models import Change
from duely.core.clock import now
from duely.tasks.models import Task, TaskWords

ON_POSTGRESQL = connection.vendor == "postgresql"


def statements(api: Api, method: str, path: str, body: object = None, status: int = 200) -> list[str]:
    """The first word of each, BEGIN and COMMIT too."""
    with CaptureQueriesContext(connection) as queries:
        response = getattr(api, method)(path, *([] if body is None else [body]))
    assert response.status_code == status, response.content
    return [query["sql"].split()[0] for query in queries]


def test_reads_cost_one_statement_and_the_one_of_the_caller(committed_db: None) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()["id"]
    assert statements(me, "get", "tasks/") == ["SELECT", "SELECT"]
    assert statements(me, "get", "tasks/?status=pending&ordering=due_date") == ["SELECT", "SELECT"]
    assert statements(me, "get", f"tasks/{task}/") == ["SELECT", "SELECT"]


def test_a_plain_new_task_is_one_statement_on_postgresql(committed_db: None) -> None:
    me = Api(alice())
    found = statements(me, "post", "tasks/", {"title": "x", "tags": ["a"], "priority": "high"}, 201)
    one = ["WITH"] if ON_POSTGRESQL else ["BEGIN", "INSERT", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert found == ["SELECT", *one]
    ((action, _),) = log_of(me.user)
    assert action == "task.created"
    assert TaskWords.objects.count() == 1


def test_a_new_task_that_hangs_on_other_rows_locks_its_owner_first(committed_db: None) -> None:
    me = Api(alice())
    found = statements(me, "post", "tasks/", {"title": "x", "due_date": "2099-01-31"}, 201)
    assert found[:3] == ["SELECT", "BEGIN", "SELECT"]
    assert found[-1] == "COMMIT"


def test_an_edit_locks_the_task_and_writes_once(committed_db: None) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()["id"]
    found = statements(me, "patch", f"tasks/{task}/", {"priority": "high"})
    writes = ["WITH"] if ON_POSTGRESQL else ["UPDATE", "INSERT", "INSERT"]
    assert found == ["SELECT", "BEGIN", "SELECT", *writes, "COMMIT"]
    with CaptureQueriesContext(connection) as queries:
        me.patch(f"tasks/{task}/", {"priority": "low"})
    assert sum("FOR NO KEY UPDATE" in query["sql"] for query in queries) == ON_POSTGRESQL


def test_a_task_and_its_log_are_there_together_or_not_at_all(committed_db: None) -> None:
    """A statement by itself fails as a whole."""
    me, other = Api(alice()), Api(bob())
    task = other.post("tasks/", {"title": "x"}).json()["id"]
    from duely.core.records import insertion

    again = Task.objects.get(pk=task)
    with pytest.raises(IntegrityError):
        record(None, "task.created", again, at=now(), write=insertion(again), alone=True)
    assert Change.objects.count() == 1
    assert me.get("activity-logs/").json()["data"] == []


def test_what_follows_from_a_change_is_in_one_transaction_with_it(committed_db: None) -> None:
    """Then it is more than one statement."""
    seen = []
    follow("test.followed", lambda entry: seen.append(connection.in_atomic_block))
    with CaptureQueriesContext(connection) as queries:
        record(None, "test.followed", Nobody("test"), at=now(), alone=True)
    assert seen == [True]
    assert queries[0]["sql"].startswith("BEGIN")
    assert queries[-1]["sql"].startswith("COMMIT")
