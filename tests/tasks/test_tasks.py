"""Making, reading, changing and deleting tasks."""

from typing import Any
from uuid import uuid4

import pytest

from cast import V1, Api, adam, alice, bob, faults, iris, log_of, mallory
from duely.core.ids import new_id
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db

READ_ONLY = ("id", "owner", "completed_at", "created_at", "updated_at", "deleted_at")
EVERYTHING: dict[str, Any] = {
    "title": "Write the report",
    "description": "# Outline\n\n- one\n- two\n",
    "status": "in_progress",
    "priority": "high",
    "due_date": "2099-01-31",
    "tags": ["work", "Q1"],
    "reminders": ["-PT30M", "2099-01-30T08:00:00.000Z"],
}


def made(api: Api, **fields: Any) -> dict[str, Any]:
    """A new task, as the API shows it."""
    response = api.post("tasks/", {"title": "Milk", **fields})
    assert response.status_code == 201, response.content
    return response.json()


def category_of(api: Api, name: str = "Home") -> str:
    response = api.post("categories/", {"name": name})
    assert response.status_code == 201, response.content
    return response.json()["id"]


def read(api: Api, task: dict[str, Any]) -> dict[str, Any]:
    response = api.get(f"tasks/{task['id']}/")
    assert response.status_code == 200, response.content
    return response.json()


def without_instance(response: Any) -> tuple[int, dict[str, Any]]:
    """What an error says, apart from where and when."""
    return response.status_code, {key: value for key, value in response.json().items() if key != "instance"}


def test_a_task_needs_a_title_alone_and_the_rest_takes_defaults() -> None:
    me = Api(alice())
    response = me.post("tasks/", {"title": "Milk"})
    task = response.json()
    assert response.status_code == 201
    assert task == {
        "id": task["id"],
        "owner": str(me.user.id),
        "title": "Milk",
        "description": "",
        "status": "pending",
        "completed": False,
        "completed_at": None,
        "priority": "medium",
        "due_date": None,
        "category": None,
        "tags": [],
        "reminders": [],
        "version": 1,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
        "deleted_at": None,
    }
    assert response.headers["Location"] == f"{V1}tasks/{task['id']}/"
    assert response.headers["ETag"] == '"1"'
    assert me.get(response.headers["Location"]).json() == task


def test_every_field_can_be_given() -> None:
    me = Api(alice())
    fields = {**EVERYTHING, "category": category_of(me)}
    task = made(me, **fields)
    assert {name: task[name] for name in fields} == fields
    assert read(me, task) == task


def test_a_title_is_trimmed_and_a_description_is_not() -> None:
    task = made(Api(alice()), title=" \t Milk\u3000\n", description="\n  as it is \r\n")
    assert (task["title"], task["description"]) == ("Milk", "\n  as it is \r\n")


@pytest.mark.parametrize("title", ["x", "x" * 255, "  " + "x" * 255 + "  ", "日本語", "👨‍👩‍👧", "<b>&amp;", "שלום"])
def test_titles_have_up_to_255_characters_of_any_script(title: str) -> None:
    me = Api(alice())
    assert read(me, made(me, title=title))["title"] == title.strip()


@pytest.mark.parametrize(
    "title, code",
    [
        ("", "required"),
        (" \n\t", "required"),
        ("x" * 256, "too_long"),
        ("a\nb", "invalid_format"),
        ("a\x00b", "invalid_format"),
        ("a\x7fb", "invalid_format"),
        ("a\x85b", "invalid_format"),
        (None, "invalid_type"),
        (5, "invalid_type"),
        (["x"], "invalid_type"),
    ],
)
def test_other_titles_are_refused(title: Any, code: str) -> None:
    response = Api(alice()).post("tasks/", {"title": title})
    assert response.status_code == 400
    assert faults(response) == {"title": code}


@pytest.mark.parametrize("description", ["x" * 65536, "é" * 32768, "a\tb\r\nc"])
def test_descriptions_have_up_to_64_kibibytes(description: str) -> None:
    me = Api(alice())
    assert read(me, made(me, description=description))["description"] == description


@pytest.mark.parametrize(
    "description, code",
    [("x" * 65537, "too_long"), ("é" * 32769, "too_long"), ("a\x00", "invalid_format"), (None, "invalid_type")],
)
def test_other_descriptions_are_refused(description: Any, code: str) -> None:
    assert faults(Api(alice()).post("tasks/", {"title": "x", "description": description})) == {"description": code}


def test_a_client_may_choose_the_id() -> None:
    me = Api(alice())
    chosen = str(new_id())
    assert made(me, id=chosen.upper())["id"] == chosen
    assert me.get(f"tasks/{chosen}/").status_code == 200
    assert me.get(f"tasks/{chosen.upper()}/").status_code == 200


def test_the_same_id_twice_is_a_conflict_that_changes_nothing() -> None:
    me = Api(alice())
    task = made(me)
    response = me.post("tasks/", {"title": "Bread", "id": task["id"]})
    assert response.status_code == 409
    assert response.json()["code"] == "already_exists"
    assert faults(response) == {"id": "already_exists"}
    assert read(me, task) == task
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


def test_an_id_stays_taken_while_the_task_is_in_the_trash() -> None:
    me = Api(alice())
    task = made(me)
    assert me.delete(f"tasks/{task['id']}/").status_code == 204
    assert me.post("tasks/", {"title": "Bread", "id": task["id"]}).status_code == 409


def test_an_id_that_someone_else_uses_tells_nothing_of_their_task() -> None:
    me, other = Api(alice()), Api(bob())
    mine, theirs = made(me), made(other, title="secret")
    own_conflict = me.post("tasks/", {"title": "x", "id": mine["id"]})
    foreign_conflict = me.post("tasks/", {"title": "x", "id": theirs["id"]})
    assert without_instance(foreign_conflict) == without_instance(own_conflict)
    assert read(other, theirs) == theirs


def test_an_admin_makes_a_task_for_someone_else() -> None:
    boss, me = Api(adam()), Api(alice())
    task = made(boss, owner=str(me.user.id), title="Please")
    assert task["owner"] == str(me.user.id)
    assert read(me, task) == task
    assert [action for action, _ in log_of(me.user)] == ["task.created"]
    assert log_of(boss.user) == []


def test_the_owner_may_be_oneself() -> None:
    me = Api(alice())
    assert made(me, owner=str(me.user.id))["owner"] == str(me.user.id)


@pytest.mark.parametrize("person", [alice, iris])
def test_only_admins_make_tasks_for_others(person: Any) -> None:
    me, other = Api(person()), bob()
    for owner in (other.id, uuid4()):
        response = me.post("tasks/", {"title": "x", "owner": str(owner)})
        assert response.status_code == 403
        assert response.json()["code"] == "forbidden"
    assert not Task.objects.exists()


def test_the_owner_must_exist() -> None:
    response = Api(adam()).post("tasks/", {"title": "x", "owner": str(uuid4())})
    assert response.status_code == 400
    assert faults(response) == {"owner": "not_found"}


def test_a_strangers_task_does_not_exist_for_me() -> None:
    me, stranger = Api(alice()), Api(mallory())
    task = made(me)
    for method, body in [("GET", None), ("PUT", {"title": "x"}), ("PATCH", {"title": "x"}), ("DELETE", None)]:
        foreign = stranger.call(method, f"tasks/{task['id']}/", body)
        random = stranger.call(method, f"tasks/{new_id()}/", body)
        assert foreign.status_code == 404
        assert without_instance(foreign) == without_instance(random)
    assert read(me, task) == task
    assert stranger.get("tasks/").json()["data"] == []


def test_an_admin_reads_changes_and_deletes_everyones_tasks() -> None:
    me, boss = Api(alice()), Api(adam())
    task = made(me)
    assert boss.get(f"tasks/{task['id']}/").json() == task
    assert boss.patch(f"tasks/{task['id']}/", {"title": "Bread"}).json()["owner"] == str(me.user.id)
    assert read(me, task)["title"] == "Bread"
    assert boss.delete(f"tasks/{task['id']}/").status_code == 204
    assert me.get(f"tasks/{task['id']}/").status_code == 404


def test_put_replaces_and_what_is_missing_takes_its_default() -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING, category=category_of(me))
    response = me.put(f"tasks/{task['id']}/", {"title": "Bread"})
    fresh = made(me, title="Bread")
    kept = {name: task[name] for name in ("id", "owner", "created_at")}
    assert response.status_code == 200
    assert response.json() == {**fresh, **kept, "version": 2, "updated_at": response.json()["updated_at"]}
    assert response.json()["updated_at"] > task["updated_at"]
    assert response.headers["ETag"] == '"2"'
    assert read(me, task) == response.json()


def test_put_sets_every_field() -> None:
    me = Api(alice())
    fields = {**EVERYTHING, "category": category_of(me)}
    task = made(me)
    changed = me.put(f"tasks/{task['id']}/", fields).json()
    assert {name: changed[name] for name in fields} == fields


def test_put_needs_a_title() -> None:
    me = Api(alice())
    task = made(me)
    response = me.put(f"tasks/{task['id']}/", {"description": "x"})
    assert faults(response) == {"title": "required"}
    assert read(me, task) == task


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "cancelled"])
def test_to_put_what_was_read_changes_nothing(status: str) -> None:
    me = Api(alice())
    task = made(me, **{**EVERYTHING, "status": status}, category=category_of(me))
    before = log_of(me.user)
    body = {name: value for name, value in task.items() if name not in READ_ONLY}
    assert me.put(f"tasks/{task['id']}/", body).json() == task
    assert log_of(me.user) == before


CHANGES: list[tuple[str, Any]] = [
    ("title", "Bread"),
    ("description", "Rye"),
    ("status", "cancelled"),
    ("priority", "urgent"),
    ("due_date", "2099-02-01T10:00:00.000Z"),
    ("due_date", None),
    ("category", None),
    ("tags", []),
    ("tags", ["Q1", "work"]),
    ("tags", ["Work", "Q1"]),
    ("reminders", ["-P1D"]),
]


@pytest.mark.parametrize("field, value", CHANGES)
def test_patch_changes_one_field_and_leaves_the_others(field: str, value: Any) -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING, category=category_of(me))
    response = me.patch(f"tasks/{task['id']}/", {field: value})
    changed = response.json()
    assert response.status_code == 200
    assert changed == {**task, field: value, "version": 2, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > task["updated_at"]
    assert response.headers["ETag"] == '"2"'
    assert read(me, task) == changed


def test_patch_puts_a_task_into_a_category() -> None:
    me = Api(alice())
    task, category = made(me), category_of(me)
    assert me.patch(f"tasks/{task['id']}/", {"category": category}).json()["category"] == category


def test_an_empty_patch_changes_nothing_and_is_not_logged() -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING)
    response = me.patch(f"tasks/{task['id']}/", {})
    assert response.status_code == 200
    assert response.json() == task
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


@pytest.mark.parametrize("field", [*EVERYTHING, "category", "completed"])
def test_a_patch_with_the_same_value_changes_nothing_and_is_not_logged(field: str) -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING, category=category_of(me))
    before = log_of(me.user)
    assert me.patch(f"tasks/{task['id']}/", {field: task[field]}).json() == task
    assert log_of(me.user) == before


@pytest.mark.parametrize("field", ["title", "description", "status", "completed", "priority", "tags", "reminders"])
@pytest.mark.parametrize("method", ["PATCH", "PUT", "POST"])
def test_null_does_not_clear_what_cannot_be_empty(method: str, field: str) -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    response = me.call(method, path, {"title": "x", field: None})
    assert response.status_code == 400
    assert faults(response) == {field: "invalid_type"}
    assert read(me, task) == task


@pytest.mark.parametrize(
    "field, values",
    [
        ("description", [5, [], {}, True]),
        ("status", [5, [], True]),
        ("completed", [0, 1, "true", []]),
        ("priority", [1, [], True]),
        ("category", [5, [], {}]),
        ("tags", ["work", {}, 5, True]),
        ("reminders", ["-PT30M", {}, 5]),
        ("id", [5, [], None]),
        ("owner", [5, [], None]),
    ],
)
def test_values_of_another_type_are_refused_and_never_converted(field: str, values: list[Any]) -> None:
    me = Api(adam())
    for value in values:
        response = me.post("tasks/", {"title": "x", field: value})
        assert response.status_code == 400
        assert faults(response) == {field: "invalid_type"}, value


@pytest.mark.parametrize(
    "field, value, code",
    [
        ("status", "finished", "invalid_choice"),
        ("status", "", "invalid_choice"),
        ("priority", "todo", "invalid_choice"),
        ("priority", "3", "invalid_choice"),
        ("category", "home", "invalid_id"),
        ("category", "", "invalid_id"),
        ("id", "1", "invalid_id"),
        ("owner", "alice", "invalid_id"),
        ("due_date", "tomorrow", "invalid_date"),
        ("due_date", "2026-02-30", "invalid_date"),
        ("due_date", "2026-01-31T09:00:00", "invalid_date"),
        ("due_date", 20260131, "invalid_date"),
    ],
)
def test_values_that_mean_nothing_are_refused(field: str, value: Any, code: str) -> None:
    response = Api(adam()).post("tasks/", {"title": "x", field: value})
    assert response.status_code == 400
    assert faults(response) == {field: code}


def test_all_bad_fields_are_named_at_once() -> None:
    response = Api(alice()).post(
        "tasks/",
        {
            "description": 5,
            "status": "finished",
            "completed": "yes",
            "priority": None,
            "due_date": "soon",
            "category": "home",
            "tags": ["a", 5],
            "reminders": ["PT30M"],
            "id": "1",
            "owner": 7,
            "colour": "red",
        },
    )
    assert response.status_code == 400
    assert response.json()["detail"].startswith("12 fields are invalid: ")
    assert faults(response) == {
        "title": "required",
        "description": "invalid_type",
        "status": "invalid_choice",
        "completed": "invalid_type",
        "priority": "invalid_type",
        "due_date": "invalid_date",
        "category": "invalid_id",
        "tags": "invalid_type",
        "reminders": "invalid_reminder",
        "id": "invalid_id",
        "owner": "invalid_type",
        "colour": "unknown_field",
    }


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    response = Api(alice()).post("tasks/", {"title": "x", "titel": "y"})
    (fault,) = response.json()["errors"]
    assert (fault["field"], fault["code"]) == ("titel", "unknown_field")
    for known in ("title", "due_date", "reminders", "owner"):
        assert known in fault["message"]


INSIDE = ("due_at", "due_on", "tag_keys", "former_status", "owner_id", "category_id", "is_deleted", "pk")


SERVERS_OWN = [
    (method, field)
    for method in ("POST", "PUT", "PATCH")
    for field in (*READ_ONLY, *INSIDE)
    if (method, field) not in {("POST", "id"), ("POST", "owner")}
]


@pytest.mark.parametrize("method, field", SERVERS_OWN)
def test_what_only_the_server_sets_is_refused_even_unchanged(method: str, field: str) -> None:
    me = Api(adam())
    task = made(me)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    response = me.call(method, path, {"title": "Bread", field: task.get(field)})
    assert response.status_code == 400
    assert faults(response) == {field: "unknown_field"}
    assert read(me, task) == task
    assert Task.objects.count() == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_someone_elses_category_is_refused_like_one_that_never_was(method: str) -> None:
    me, other = Api(alice()), Api(bob())
    task, theirs = made(me), category_of(other)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    foreign = me.call(method, path, {"title": "x", "category": theirs})
    random = me.call(method, path, {"title": "x", "category": str(new_id())})
    assert foreign.status_code == 400
    assert faults(foreign) == {"category": "not_found"}
    assert without_instance(foreign) == without_instance(random)
    assert read(me, task) == task
    assert other.get(f"categories/{theirs}/").json()["task_count"] == 0
    assert [action for action, _ in log_of(me.user)] == ["task.created"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_even_an_admin_puts_a_task_only_into_its_owners_categories(method: str) -> None:
    boss, me = Api(adam()), Api(alice())
    task, his, mine = made(me), category_of(boss), category_of(me)
    path = "tasks/" if method == "POST" else f"tasks/{task['id']}/"
    owner = {"owner": str(me.user.id)} if method == "POST" else {}
    refused = boss.call(method, path, {"title": "x", "category": his, **owner})
    assert faults(refused) == {"category": "not_found"}
    assert boss.call(method, path, {"title": "x", "category": mine, **owner}).json()["category"] == mine


def test_a_deleted_task_is_gone_for_everyone() -> None:
    me, boss = Api(alice()), Api(adam())
    task = made(me)
    response = me.delete(f"tasks/{task['id']}/")
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers
    for api in (me, boss):
        for method, body in [("GET", None), ("PUT", {"title": "x"}), ("PATCH", {}), ("DELETE", None)]:
            assert api.call(method, f"tasks/{task['id']}/", body).status_code == 404
        assert api.get("tasks/").json()["data"] == []


def test_a_deleted_task_lies_in_the_trash_as_it_was() -> None:
    me = Api(alice())
    task = made(me, **EVERYTHING)
    me.delete(f"tasks/{task['id']}/")
    kept = Task.objects.get(pk=task["id"])
    assert (kept.title, kept.status, kept.tags) == (task["title"], task["status"], task["tags"])
    assert kept.deleted_at == kept.updated_at
    assert kept.version == 2


def test_a_task_is_not_deleted_twice() -> None:
    me = Api(alice())
    task = made(me)
    assert [me.delete(f"tasks/{task['id']}/").status_code for _ in range(2)] == [204, 404]
    assert [action for action, _ in log_of(me.user)] == ["task.created", "task.deleted"]


def test_operations_on_one_task_take_no_query_parameters() -> None:
    me = Api(alice())
    task = made(me)
    for method, body in [("GET", None), ("PUT", {"title": "x"}), ("PATCH", {"title": "x"}), ("DELETE", None)]:
        response = me.call(method, f"tasks/{task['id']}/?force=true&x=1", body)
        assert response.status_code == 400
        assert faults(response) == {"force": "unknown_parameter", "x": "unknown_parameter"}
    assert read(me, task) == task


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_does_anything_without_signing_in(method: str) -> None:
    response = Api().call(method, "tasks/", {"title": "x"} if method == "POST" else None)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["code"] == "not_authenticated"
