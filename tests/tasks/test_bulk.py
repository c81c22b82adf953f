"""Many changes in one request: each answered by itself, in order, or all of them or none."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, adam, alice, bob, faults, iris, log_of, undone
from duely.activity.models import Change
from duely.api.models import KeptAnswer
from duely.core import clock
from duely.core.actor import Actor, Origin
from duely.core.ids import new_id
from duely.jobs import pace
from duely.tasks import actions
from duely.tasks.actions import many
from duely.tasks.models import Reminder, Task, TaskWords

pytestmark = pytest.mark.django_db
NOTHING = "0198c3a0-0000-7000-8000-000000000000"


@pytest.fixture
def api() -> Api:
    return Api(alice())


@pytest.fixture(autouse=True)
def as_documented() -> Iterator[None]:
    with contract.watch():
        yield


def bulk(api: Api, *operations: Any, **more: Any) -> Any:
    return api.post("tasks/bulk/", {"operations": list(operations), **more})


def results(api: Api, *operations: Any, **more: Any) -> list[dict[str, Any]]:
    answer = bulk(api, *operations, **more)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    assert len(found) == len(operations)
    return found


def statuses(found: list[dict[str, Any]]) -> list[int]:
    return [result["status"] for result in found]


def create(title: str = "Milk", **fields: Any) -> dict[str, Any]:
    return {"op": "create", "title": title, **fields}


def update(task: Any, **fields: Any) -> dict[str, Any]:
    return {"op": "update", "id": task if isinstance(task, str) else task["id"], **fields}


def delete(task: Any) -> dict[str, Any]:
    return {"op": "delete", "id": task if isinstance(task, str) else task["id"]}


def made(api: Api, title: str = "Milk", **fields: Any) -> dict[str, Any]:
    answer = api.post("tasks/", {"title": title, **fields})
    assert answer.status_code == 201, answer.content
    task: dict[str, Any] = answer.json()
    return task


def drawer(api: Api, name: str = "Home") -> str:
    return str(api.post("categories/", {"name": name}).json()["id"])


# What each does is what it does by itself

FULL = {
    "description": "From the farm",
    "status": "in_progress",
    "priority": "high",
    "due_date": "2099-01-31",
    "tags": ["Shop", "home"],
    "reminders": ["-PT30M", "2098-01-01T00:00:00.000Z"],
}


def test_each_operation_is_answered_as_by_itself(api: Api) -> None:
    home, one, two = drawer(api), made(api, "One"), made(api, "Two")
    chosen = str(new_id())
    found = results(
        api,
        create("New", **FULL, category=home),
        create("Mine", id=chosen, completed=True),
        update(one, title="Uno", category=home),
        delete(two),
        update(one),
    )
    assert statuses(found) == [201, 201, 200, 204, 200]
    for result in (found[0], found[1], found[4]):
        assert result["body"] == api.get(f"tasks/{result['body']['id']}/").json()
    assert found[0]["body"].items() >= {**FULL, "category": home, "title": "New", "version": 1}.items()
    assert found[1]["body"].items() >= {"id": chosen, "status": "completed", "completed": True}.items()
    assert found[2]["body"].items() >= {"title": "Uno", "category": home, "version": 2}.items()
    assert found[3]["body"] is None
    assert found[4]["body"]["version"] == 2
    assert api.get(f"tasks/{two['id']}/").status_code == 404


def test_the_log_has_an_entry_for_each_change_in_order(api: Api) -> None:
    one = made(api, "One")
    results(
        api,
        create("New", priority="high"),
        update(one, status="completed"),
        update(one, title="Uno"),
        update(one, title="Uno"),
        delete(one),
    )
    entries = log_of(api.user)[1:]
    assert [action for action, _ in entries] == [
        "task.created",
        "task.status_changed",
        "task.updated",
        "task.deleted",
    ]
    assert entries[2][1] == {"title": ["One", "Uno"]}
    labels = list(Change.objects.filter(target_id=one["id"]).order_by("seq").values_list("target_label", flat=True))
    assert labels == ["One", "One", "Uno", "Uno"]
    assert [*Change.objects.order_by("seq").values_list("seq", flat=True)] == [1, 2, 3, 4, 5]


def test_reminders_and_words_follow(api: Api) -> None:
    one = made(api, "One", due_date="2098-01-31T00:00:00Z", reminders=["-PT30M", "-P1D"])
    found = results(
        api,
        create("Bread", due_date="2099-01-31T12:00:00Z", reminders=["-PT1H"], description="two loaves"),
        update(one, reminders=["-PT30M"], due_date="2099-02-01T00:00:00Z", title="Uno"),
    )
    new = found[0]["body"]["id"]
    times = {(str(row.task_id), row.text): clock.rfc3339(row.remind_at) for row in Reminder.objects.all()}
    assert times == {
        (new, "-PT1H"): "2099-01-31T11:00:00.000Z",
        (one["id"], "-PT30M"): "2099-01-31T23:30:00.000Z",
    }
    for search, title in (("loaves", "Bread"), ("uno", "Uno")):
        assert [task["title"] for task in api.get(f"tasks/?search={search}").json()["data"]] == [title]
    assert api.get("tasks/?search=one").json()["data"] == []


def test_operations_on_the_same_task_see_each_other(api: Api) -> None:
    chosen = str(new_id())
    found = results(
        api,
        update(chosen, title="Too early"),
        create("First", id=chosen, tags=["a"]),
        update(chosen, title="Second"),
        create("Again", id=chosen),
        update(chosen, status="completed"),
        delete(chosen),
        update(chosen, title="Too late"),
        delete(chosen),
        create("Still taken", id=chosen),
    )
    assert statuses(found) == [404, 201, 200, 409, 200, 204, 404, 404, 409]
    assert [result["body"]["version"] for result in (found[1], found[2], found[4])] == [1, 2, 3]
    (stored,) = Task.objects.all()
    assert (stored.title, stored.status, stored.version, stored.deleted_at is None) == ("Second", "completed", 4, False)
    assert [row.task_id for row in TaskWords.objects.all()] == [stored.id]
    assert api.post(f"tasks/{chosen}/restore/").json()["version"] == 5


def test_versions_in_operations_are_compared_with_what_was_before_each(api: Api) -> None:
    one = made(api, "One")
    api.patch(f"tasks/{one['id']}/", {"priority": "high"})
    found = results(
        api,
        update(one, version=1, title="Uno"),
        update(one, version=1, priority="low"),
        update(one, version=2, title="Due"),
        update(one, version=1, tags=["a"]),
        update(one, version=3, title="Tre"),
        update(one, version=9, title="Never"),
    )
    assert statuses(found) == [200, 409, 409, 200, 200, 400]
    for conflict, field, title in ((found[1], "priority", "Uno"), (found[2], "title", "Uno")):
        assert conflict["body"]["code"] == "edit_conflict"
        assert [error["field"] for error in conflict["body"]["errors"]] == [field]
        assert conflict["body"]["current"].items() >= {"title": title, "priority": "high", "version": 3}.items()
    assert found[4]["body"].items() >= {"title": "Tre", "tags": ["a"], "version": 5}.items()


# Refusals

FAULTS = [
    (create(""), 400, {"title": "required"}),
    (create("x", nonsense=1, due_date="x"), 400, {"nonsense": "unknown_field", "due_date": "invalid_date"}),
    ({"op": "create"}, 400, {"title": "required"}),
    (create("x", version=1), 400, {"version": "unknown_field"}),
    (create("x", status="overdue"), 400, {"status": "not_settable"}),
    (create("x", status="pending", completed=True), 400, {"completed": "conflict"}),
    (create("x", category=NOTHING), 400, {"category": "not_found"}),
    (create("x", owner=NOTHING), 403, None),
    ({"op": "update", "title": "x"}, 400, {"id": "required"}),
    (update("x", title="y"), 400, {"id": "invalid_id"}),
    (update(NOTHING, title="x"), 404, None),
    (update(NOTHING, owner=NOTHING), 400, {"owner": "unknown_field"}),
    (delete(NOTHING), 404, None),
    ({"op": "delete", "id": NOTHING, "title": "x"}, 400, {"title": "unknown_field"}),
    ({"op": "delete"}, 400, {"id": "required"}),
    ({"op": "replace"}, 400, {"op": "invalid_choice"}),
    ({"op": None}, 400, {"op": "invalid_choice"}),
    ({"op": ["create"]}, 400, {"op": "invalid_choice"}),
    ({"title": "x"}, 400, {"op": "required"}),
    ({}, 400, {"op": "required"}),
    ("create", 400, {"": "invalid_type"}),
    (None, 400, {"": "invalid_type"}),
]


def test_what_is_refused_leaves_the_others_alone(api: Api) -> None:
    for operation, status, fields in FAULTS:
        with undone():
            found = results(api, create("Before"), operation, create("After"))
            assert statuses(found) == [201, status, 201], operation
            body = found[1]["body"]
            assert body["status"] == status
            assert body["instance"].startswith("/api/v1/tasks/bulk/#")
            if fields is not None:
                assert {error["field"]: error["code"] for error in body["errors"]} == fields, operation
            assert sorted(Task.objects.values_list("title", flat=True)) == ["After", "Before"]


@pytest.mark.parametrize(
    "body, field, code",
    [
        ({}, "operations", "required"),
        ({"operations": []}, "operations", "required"),
        ({"operations": {}}, "operations", "invalid_type"),
        ({"operations": None}, "operations", "invalid_type"),
        ({"operations": [create()] * 101}, "operations", "too_many"),
        ({"operations": [create()], "atomic": "yes"}, "atomic", "invalid_type"),
        ({"operations": [create()], "nonsense": 1}, "nonsense", "unknown_field"),
    ],
)
def test_a_body_that_holds_no_operations_is_refused(api: Api, body: Any, field: str, code: str) -> None:
    answer = api.post("tasks/bulk/", body)
    assert (answer.status_code, faults(answer)) == (400, {field: code})
    assert not Task.objects.exists()


def test_atomic_is_all_or_none(api: Api) -> None:
    one = made(api, "One")
    before, words = log_of(api.user), list(TaskWords.objects.values_list("words", flat=True))
    answer = bulk(api, create("New"), update(one, title="Uno"), delete(NOTHING), create(""), atomic=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "bulk_refused")
    found = answer.json()["results"]
    assert statuses(found) == [424, 424, 404, 400]
    assert [result["body"]["code"] for result in found] == ["not_done", "not_done", "not_found", "validation_failed"]
    assert [task.title for task in Task.objects.all()] == ["One"]
    assert log_of(api.user) == before
    assert list(TaskWords.objects.values_list("words", flat=True)) == words
    assert statuses(results(api, create("New"), update(one, title="Uno"), atomic=True)) == [201, 200]
    assert Task.objects.count() == 2


def test_nothing_at_all_may_be_done(api: Api) -> None:
    one = made(api)
    entries = log_of(api.user)
    assert statuses(results(api, update(one), update(one, title="Milk"), delete(NOTHING))) == [200, 200, 404]
    assert log_of(api.user) == entries


# Whose


def test_what_is_someone_elses_is_not_there(api: Api) -> None:
    other = Api(bob())
    theirs, their_drawer = made(other, "Bread"), drawer(other)
    mine = made(api, "Milk")
    found = results(
        api,
        update(theirs, title="x"),
        delete(theirs),
        create("x", category=their_drawer),
        update(mine, category=their_drawer),
        create("x", owner=str(other.user.id)),
        create("x", id=theirs["id"]),
        update(mine, title="Butter"),
    )
    assert statuses(found) == [404, 404, 400, 400, 403, 409, 200]
    nothing = results(api, update(NOTHING, title="x"), delete(NOTHING), create("x", category=NOTHING))
    for foreign, none in zip(found[:3], nothing, strict=True):
        assert {**foreign["body"], "instance": ""} == {**none["body"], "instance": ""}
    assert other.get(f"tasks/{theirs['id']}/").json() == theirs
    assert sorted(Task.objects.values_list("title", flat=True)) == ["Bread", "Butter"]


def test_an_intern_may(api: Api) -> None:
    assert statuses(results(Api(iris()), create())) == [201]


def test_an_admin_changes_what_is_anyones_and_each_log_has_its_own(api: Api) -> None:
    boss, other = Api(adam()), Api(bob())
    mine, theirs, home = made(api, "Milk"), made(other, "Bread"), drawer(api)
    found = results(
        boss,
        update(theirs, title="Rolls"),
        update(mine, category=home),
        create("For Bob", owner=str(other.user.id)),
        create("For Alice", owner=str(api.user.id), category=home),
        create("For Adam"),
        update(theirs, category=home),
        create("For nobody", owner=NOTHING),
    )
    assert statuses(found) == [200, 200, 201, 201, 201, 400, 400]
    assert [action for action, _ in log_of(other.user)] == ["task.created", "task.updated", "task.created"]
    assert [action for action, _ in log_of(boss.user)] == ["task.created"]
    owners = {task.title: task.owner_id for task in Task.objects.all()}
    assert owners == {
        "Rolls": other.user.id,
        "Milk": api.user.id,
        "For Bob": other.user.id,
        "For Alice": api.user.id,
        "For Adam": boss.user.id,
    }


# Retries


def test_a_retry_with_a_key_changes_nothing(api: Api) -> None:
    operations = {"operations": [create("New"), delete(NOTHING)]}
    first = api.post("tasks/bulk/", operations, Idempotency_Key="k")
    again = api.post("tasks/bulk/", operations, Idempotency_Key="k")
    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Task.objects.count() == 1


def test_an_answer_of_much_stored_text_is_kept_without_it(api: Api) -> None:
    task = made(api, "Large", description="x" * 65_536)
    operations = {"operations": [update(task, priority="high" if number % 2 else "low") for number in range(15)]}
    first = api.post("tasks/bulk/", operations, Idempotency_Key="k")
    assert first.status_code == 200
    assert api.post("tasks/bulk/", operations, Idempotency_Key="k").content == first.content
    assert len(bytes(KeptAnswer.objects.get().body)) < 10_000


def test_an_answer_of_too_much_text_is_refused_and_undone(api: Api) -> None:
    task = made(api, "Large", description="x" * 65_536)
    operations = [update(task, priority="high" if number % 2 else "low") for number in range(20)]
    for headers in ({"Idempotency_Key": "k"}, {}):
        answer = api.post("tasks/bulk/", {"operations": operations}, **headers)
        assert (answer.status_code, faults(answer)) == (400, {"operations": "too_long"})
    assert Task.objects.get().version == 1


# The same as one by one

IDS = [f"0198c3a0-0000-7000-8000-00000000000{number}" for number in range(1, 4)]
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["a", "b", ""]),
        "status": st.sampled_from(["pending", "completed", "cancelled", "overdue"]),
        "completed": st.booleans(),
        "due_date": st.sampled_from([None, "2000-01-01", "2099-01-31T10:00:00.000Z"]),
        "reminders": st.sampled_from([[], ["-PT30M"], ["-P1D", "2098-01-01T00:00:00.000Z"]]),
        "tags": st.sampled_from([[], ["x"]]),
        "category": st.sampled_from([None, NOTHING]),
    },
)
VERSION = st.none() | st.integers(1, 4)
OPERATION = st.one_of(
    st.builds(lambda i, f: {"op": "create", "title": "n", **f, "id": i}, st.sampled_from(IDS), FIELDS),
    st.builds(
        lambda i, f, v: {"op": "update", "id": i, **f, **({"version": v} if v else {})},
        st.sampled_from(IDS),
        FIELDS,
        VERSION,
    ),
    st.builds(lambda i: {"op": "delete", "id": i}, st.sampled_from(IDS)),
)


def rows() -> list[Any]:
    """Everything that is stored of tasks, but for when and by which request."""
    tasks = [
        {name: value for name, value in row.items() if name not in ("created_at", "updated_at", "completed_at")}
        | {"deleted_at": row["deleted_at"] is not None, "completed_at": row["completed_at"] is not None}
        for row in Task.objects.order_by("id").values()
    ]
    reminders = list(Reminder.objects.order_by("task_id", "text").values_list("task_id", "text", "remind_at"))
    words = list(TaskWords.objects.order_by("task_id").values_list("task_id", "words"))
    changes = [
        (action, target, {name: new for name, new in changes.items() if not name.endswith("_at")})
        for action, target, changes in Change.objects.order_by("seq").values_list("action", "target_id", "changes")
    ]
    return [tasks, reminders, words, changes]


def alone(api: Api, operation: dict[str, Any]) -> int:
    """The status of an operation by itself."""
    fields = {name: value for name, value in operation.items() if name != "op"}
    match operation["op"]:
        case "create":
            return int(api.post("tasks/", fields).status_code)
        case "update":
            return int(api.patch(f"tasks/{fields.pop('id')}/", fields).status_code)
    return int(api.delete(f"tasks/{fields['id']}/").status_code)


def test_many_at_once_come_to_the_same_as_one_by_one(api: Api) -> None:
    """Each helping is done at once and, undone, one by one: the same answers, and the same is stored."""

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(st.lists(OPERATION, min_size=1, max_size=6), min_size=1, max_size=3))
    def check(helpings: list[list[dict[str, Any]]]) -> None:
        with undone():
            for operations in helpings:
                with undone():
                    expected = [alone(api, operation) for operation in operations]
                    stored = rows()
                assert statuses(results(api, *operations)) == expected
                assert rows() == stored

    check()


# All of them


def test_all_my_tasks_go_to_the_trash(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Api(bob())
    made(other, "Bread")
    tasks = [made(api, f"Milk {number}") for number in range(7)]
    api.delete(f"tasks/{tasks[0]['id']}/")
    monkeypatch.setattr(pace, "FIRST_ROWS", 2)
    assert api.delete("tasks/?confirm=true").json() == {"deleted": 6, "has_more": False}
    assert api.get("tasks/").json()["data"] == []
    trash = api.get("tasks/trash/?limit=100").json()["data"]
    assert {task["version"] for task in trash} == {2}
    assert len(trash) == 7
    assert [action for action, _ in log_of(api.user)[8:]] == ["task.deleted"] * 6
    assert log_of(api.user)[-1][1]["deleted_at"][0] is None
    assert [task.title for task in Task.objects.filter(deleted_at__isnull=True)] == ["Bread"]
    assert api.delete("tasks/?confirm=true").json() == {"deleted": 0, "has_more": False}


def test_one_request_takes_so_many_and_says_whether_there_are_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        made(api, f"Milk {number}")
    monkeypatch.setattr(pace, "FIRST_ROWS", 2)
    monkeypatch.setattr(many, "MOST", 3)
    assert api.delete("tasks/?confirm=true").json() == {"deleted": 3, "has_more": True}
    assert api.delete("tasks/?confirm=true").json() == {"deleted": 2, "has_more": False}


def test_for_an_admin_too_all_means_their_own(api: Api) -> None:
    boss = Api(adam())
    made(api)
    made(boss, "Mine")
    assert boss.delete("tasks/?confirm=TRUE").json()["deleted"] == 1
    assert [task.title for task in Task.objects.filter(deleted_at__isnull=True)] == ["Milk"]


@pytest.mark.parametrize(
    "query, fields",
    [
        ("", {"confirm": "required"}),
        ("?confirm=false", {"confirm": "invalid_choice"}),
        ("?confirm=1", {"confirm": "invalid_choice"}),
        ("?confirm=", {"confirm": "invalid_choice"}),
        ("?confirm=true&confirm=true", {"confirm": "repeated"}),
        ("?confirm=true&status=completed", {"status": "unknown_parameter"}),
        ("?status=completed", {"status": "unknown_parameter", "confirm": "required"}),
    ],
)
def test_whoever_does_not_mean_it_loses_nothing(api: Api, query: str, fields: dict[str, str]) -> None:
    made(api)
    answer = api.delete(f"tasks/{query}")
    assert (answer.status_code, faults(answer)) == (400, fields)
    assert Task.objects.filter(deleted_at__isnull=True).count() == 1


def test_what_is_made_meanwhile_stays(api: Api) -> None:
    made(api)
    actor = Actor(id=api.user.id, name="alice", role="member", session_id=None, zone="UTC", origin=Origin())
    assert actions.delete_all_tasks(actor=actor, now=clock.now() - timedelta(seconds=1)) == (0, False)


def test_no_more_text_is_indexed_at_once_than_a_request_can_bring(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new title of a task with a long description has all of that indexed anew."""
    tasks = [made(api, description="x" * 100) for _ in range(3)]
    monkeypatch.setattr(many, "MOST_TEXT", 250)
    for atomic in (False, True):
        answer = bulk(api, *[update(task, title="New") for task in tasks], atomic=atomic)
        assert (answer.status_code, faults(answer)) == (400, {"operations": "too_long"})
    assert {task["title"] for task in api.get("tasks/").json()["data"]} == {"Milk"}
    found = results(api, *[update(task, title="New") for task in tasks[:2]], update(tasks[2], priority="low"))
    assert statuses(found) == [200] * 3


def test_no_more_text_is_answered_at_once_than_fits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [made(api, description="x" * 100) for _ in range(3)]
    monkeypatch.setattr(many, "MOST_SHOWN", 250)

    answer = bulk(api, *[update(task, priority="low") for task in tasks])

    assert (answer.status_code, faults(answer)) == (400, {"operations": "too_long"})
    assert {task["priority"] for task in api.get("tasks/").json()["data"]} == {"medium"}
    assert statuses(results(api, *[update(task, priority="low") for task in tasks[:2]])) == [200] * 2


def test_no_more_text_goes_to_the_log_at_once_than_a_request_can_bring(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [made(api, description="x" * 100) for _ in range(3)]
    monkeypatch.setattr(many, "MOST_TEXT", 250)

    answer = bulk(api, *[update(task, description="") for task in tasks])

    assert (answer.status_code, faults(answer)) == (400, {"operations": "too_long"})
    assert statuses(results(api, *[update(task, description="") for task in tasks[:2]])) == [200] * 2
