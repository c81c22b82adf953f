"""Categories over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest

from cast import V1, Api, adam, alice, bob, faults, iris, log_of, mallory
from duely.core.ids import new_id
from duely.tasks.actions.categories import FEW
from duely.tasks.models import Category, Task

pytestmark = pytest.mark.django_db

READ_ONLY = ("id", "owner", "task_count", "created_at", "updated_at")


def made(api: Api, name: str = "Home", **fields: Any) -> dict[str, Any]:
    response = api.post("categories/", {"name": name, **fields})
    assert response.status_code == 201, response.content
    return response.json()


def task_in(api: Api, category: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = api.post("tasks/", {"title": "Milk", "category": category["id"], **fields})
    assert response.status_code == 201, response.content
    return response.json()


def read(api: Api, category: dict[str, Any]) -> dict[str, Any]:
    response = api.get(f"categories/{category['id']}/")
    assert response.status_code == 200, response.content
    return response.json()


def names(api: Api, query: str = "") -> list[str]:
    response = api.get(f"categories/?{query}")
    assert response.status_code == 200, response.content
    return [item["name"] for item in response.json()["data"]]


def without_instance(response: Any) -> tuple[int, dict[str, Any]]:
    return response.status_code, {key: value for key, value in response.json().items() if key != "instance"}


def test_a_category_needs_a_name_alone() -> None:
    me = Api(iris())
    response = me.post("categories/", {"name": " Home "})
    category = response.json()
    assert response.status_code == 201
    assert category == {
        "id": category["id"],
        "owner": str(me.user.id),
        "name": "Home",
        "color": "#808080",
        "position": 0,
        "task_count": 0,
        "version": 1,
        "created_at": category["created_at"],
        "updated_at": category["created_at"],
    }
    assert response.headers["Location"] == f"{V1}categories/{category['id']}/"
    assert response.headers["ETag"] == '"1"'
    assert me.get(response.headers["Location"]).json() == category
    assert log_of(me.user) == [
        ("category.created", {"name": [None, "Home"], "color": [None, "#808080"], "position": [None, 0]})
    ]


def test_every_field_can_be_given() -> None:
    me = Api(alice())
    chosen = str(new_id())
    category = made(me, "x" * 100, id=chosen, color="#1F6f5C", position=1_000_000)
    assert (category["id"], category["name"]) == (chosen, "x" * 100)
    assert (category["color"], category["position"]) == ("#1f6f5c", 1_000_000)
    assert read(me, category) == category


@pytest.mark.parametrize(
    "field, value, code",
    [
        ("name", "", "required"),
        ("name", "  ", "required"),
        ("name", "x" * 101, "too_long"),
        ("name", "a\nb", "invalid_format"),
        ("name", "a\x00b", "invalid_format"),
        ("name", None, "invalid_type"),
        ("name", 5, "invalid_type"),
        ("color", "red", "invalid_format"),
        ("color", "#fff", "invalid_format"),
        ("color", "#1234567", "invalid_format"),
        ("color", "#12345g", "invalid_format"),
        ("color", "#１２３４５６", "invalid_format"),
        ("color", "#123456\n", "invalid_format"),
        ("color", None, "invalid_format"),
        ("position", -1, "out_of_range"),
        ("position", 1_000_001, "out_of_range"),
        ("position", 2**63, "out_of_range"),
        ("position", 2**4096, "out_of_range"),
        ("position", 1.0, "invalid_type"),
        ("position", True, "invalid_type"),
        ("position", "1", "invalid_type"),
        ("position", None, "invalid_type"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_other_values_are_refused(method: str, field: str, value: Any, code: str) -> None:
    me = Api(alice())
    category = made(me)
    path = "categories/" if method == "POST" else f"categories/{category['id']}/"
    response = me.call(method, path, {"name": "Work", field: value})
    assert response.status_code == 400
    assert faults(response) == {field: code}
    assert read(me, category) == category


def test_all_bad_fields_are_named_at_once() -> None:
    response = Api(alice()).post("categories/", {"color": 5, "position": "1", "id": "x", "owner": "y", "task_count": 1})
    assert faults(response) == {
        "name": "required",
        "color": "invalid_format",
        "position": "invalid_type",
        "id": "invalid_id",
        "owner": "unknown_field",
        "task_count": "unknown_field",
    }


SERVERS_OWN = [
    (method, field)
    for method in ("POST", "PUT", "PATCH")
    for field in (*READ_ONLY, "name_key", "owner_id")
    if (method, field) != ("POST", "id")
]


@pytest.mark.parametrize("method, field", SERVERS_OWN)
def test_what_only_the_server_sets_is_refused_even_unchanged(method: str, field: str) -> None:
    me = Api(adam())
    category = made(me)
    path = "categories/" if method == "POST" else f"categories/{category['id']}/"
    response = me.call(method, path, {"name": "Work", field: category.get(field)})
    assert faults(response) == {field: "unknown_field"}
    assert read(me, category) == category


SAME_NAMES = [
    ("Home", "Home"),
    ("Home", "HOME"),
    ("Home", " home "),
    ("Ärger", "ÄRGER"),
    ("straße", "STRASSE"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("İstanbul", "i̇stanbul"),
    ("ﬁne", "FINE"),
]


@pytest.mark.parametrize("first, second", SAME_NAMES)
def test_two_names_that_differ_by_case_alone_are_the_same(first: str, second: str) -> None:
    me = Api(alice())
    made(me, first)
    response = me.post("categories/", {"name": second})
    assert response.status_code == 409
    assert response.json()["code"] == "already_exists"
    assert faults(response) == {"name": "already_exists"}
    other = made(me, "Other")
    for method in ("PUT", "PATCH"):
        assert me.call(method, f"categories/{other['id']}/", {"name": second}).status_code == 409
    assert read(me, other) == other
    assert [action for action, _ in log_of(me.user)] == ["category.created"] * 2


@pytest.mark.parametrize("first, second", [("Home", "Homes"), ("Arger", "Ärger"), ("a b", "ab"), ("100%", "100_")])
def test_other_names_are_not(first: str, second: str) -> None:
    me = Api(alice())
    made(me, first)
    made(me, second)
    assert len(names(me)) == 2


@pytest.mark.parametrize("first, second", SAME_NAMES)
def test_names_are_found_in_any_case(first: str, second: str) -> None:
    me = Api(alice())
    made(me, first)
    made(me, "Other")
    assert names(me, f"name={quote(second.strip())}") == [first]


def test_several_names_can_be_asked_for_at_once() -> None:
    me = Api(alice())
    for name in ("Home", "Work", "Other"):
        made(me, name)
    assert names(me, "name=home,WORK&ordering=name") == ["Home", "Work"]


def test_a_name_is_unique_for_its_owner_alone() -> None:
    assert made(Api(alice()))["name"] == made(Api(bob()))["name"]


def test_a_category_may_change_the_case_of_its_own_name() -> None:
    me = Api(alice())
    category = made(me, "straße")
    changed = me.patch(f"categories/{category['id']}/", {"name": "STRASSE"}).json()
    assert (changed["name"], changed["version"]) == ("STRASSE", 2)
    assert log_of(me.user)[-1] == ("category.updated", {"name": ["straße", "STRASSE"]})


def test_a_name_is_free_again_when_its_category_is_gone_or_renamed() -> None:
    me = Api(alice())
    category = made(me)
    me.delete(f"categories/{category['id']}/")
    again = made(me)
    me.patch(f"categories/{again['id']}/", {"name": "Work"})
    made(me)


def test_the_same_id_twice_is_a_conflict() -> None:
    me, other = Api(alice()), Api(bob())
    category = made(me)
    own = me.post("categories/", {"name": "Work", "id": category["id"]})
    foreign = other.post("categories/", {"name": "Work", "id": category["id"]})
    for response in (own, foreign):
        assert response.status_code == 409
        assert faults(response) == {"id": "already_exists"}
    assert without_instance(own) == without_instance(foreign)
    assert read(me, category) == category
    assert log_of(other.user) == []


def test_put_replaces_and_what_is_missing_takes_its_default() -> None:
    me = Api(alice())
    category = made(me, color="#123456", position=7)
    response = me.put(f"categories/{category['id']}/", {"name": "Work"})
    changed = response.json()
    assert response.headers["ETag"] == '"2"'
    assert changed == {
        **category,
        "name": "Work",
        "color": "#808080",
        "position": 0,
        "version": 2,
        "updated_at": changed["updated_at"],
    }
    assert changed["updated_at"] > category["updated_at"]
    assert read(me, category) == changed


def test_put_needs_a_name() -> None:
    me = Api(alice())
    assert faults(me.put(f"categories/{made(me)['id']}/", {"position": 1})) == {"name": "required"}


@pytest.mark.parametrize("field, value", [("name", "Work"), ("color", "#ABCDEF"), ("position", 7)])
def test_patch_changes_one_field_and_leaves_the_others(field: str, value: Any) -> None:
    me = Api(alice())
    category = made(me, color="#123456", position=3)
    task_in(me, category)
    changed = me.patch(f"categories/{category['id']}/", {field: value}).json()
    kept = value.lower() if field == "color" else value
    expected = {**category, field: kept, "task_count": 1, "version": 2, "updated_at": changed["updated_at"]}
    assert changed == expected
    assert read(me, category) == expected
    assert log_of(me.user)[-1] == ("category.updated", {field: [category[field], kept]})


@pytest.mark.parametrize("body", [{}, {"name": "Home"}, {"color": "#808080"}, {"position": 0}])
def test_a_patch_that_changes_nothing_leaves_no_trace(body: dict[str, Any]) -> None:
    me = Api(alice())
    category = made(me)
    assert me.patch(f"categories/{category['id']}/", body).json() == category
    assert me.put(f"categories/{category['id']}/", {"name": "Home"}).json() == category
    assert [action for action, _ in log_of(me.user)] == ["category.created"]


def test_task_count_leaves_out_the_trash_and_other_categories() -> None:
    me = Api(alice())
    home, work, empty = (made(me, name, position=at) for at, name in enumerate(("Home", "Work", "Empty")))
    gone = task_in(me, home)
    for category in (home, home, work):
        task_in(me, category)
    task_in(me, home, status="completed")
    me.post("tasks/", {"title": "no category"})
    me.delete(f"tasks/{gone['id']}/")
    assert [item["task_count"] for item in me.get("categories/").json()["data"]] == [3, 1, 0]
    assert [read(me, category)["task_count"] for category in (home, work, empty)] == [3, 1, 0]


def test_a_deleted_category_leaves_its_tasks_and_logs_each() -> None:
    me = Api(alice())
    home, work = made(me, "Home"), made(me, "Work")
    inside = [task_in(me, home) for _ in range(3)]
    trashed, other = task_in(me, home), task_in(me, work)
    me.delete(f"tasks/{trashed['id']}/")
    entries = len(log_of(me.user))
    response = me.delete(f"categories/{home['id']}/")
    assert (response.status_code, response.content) == (204, b"")
    assert me.get(f"categories/{home['id']}/").status_code == 404
    for task in inside:
        now = me.get(f"tasks/{task['id']}/").json()
        assert now == {**task, "category": None, "version": 2, "updated_at": now["updated_at"]}
        assert now["updated_at"] > task["updated_at"]
    assert me.get(f"tasks/{other['id']}/").json() == other
    assert Task.objects.get(pk=trashed["id"]).category_id is None
    assert log_of(me.user)[entries:] == [
        *[("task.updated", {"category": [home["id"], None]})] * 4,
        ("category.deleted", {"name": ["Home", None]}),
    ]


@pytest.mark.parametrize("tasks", [0, 1, FEW])
def test_a_small_category_is_deleted_with_an_entry_for_each_task(tasks: int) -> None:
    from duely.activity.models import Change, Counter
    from duely.core.clock import now

    me = Api(alice())
    category = made(me)
    Task.objects.bulk_create(
        Task(
            id=new_id(),
            owner_id=me.user.id,
            title=f"{number}",
            description="",
            status="pending",
            priority=2,
            category_id=category["id"],
            tags=[],
            tag_keys=[],
            reminders=[],
            created_at=now(),
            updated_at=now(),
        )
        for number in range(tasks)
    )
    assert me.delete(f"categories/{category['id']}/").status_code == 204
    log = list(Change.objects.filter(owner_id=me.user.id).order_by("seq").values_list("seq", "action"))
    assert [seq for seq, _ in log] == list(range(1, tasks + 3))
    assert [action for _, action in log] == ["category.created", *["task.updated"] * tasks, "category.deleted"]
    assert Counter.objects.get(owner_id=me.user.id).seq == tasks + 2
    assert not Task.objects.exclude(category=None, version=2).exists()


def test_a_strangers_category_does_not_exist_for_me() -> None:
    me, stranger = Api(alice()), Api(mallory())
    category = made(me)
    for method, body in [("GET", None), ("PUT", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)]:
        foreign = stranger.call(method, f"categories/{category['id']}/", body)
        random = stranger.call(method, f"categories/{new_id()}/", body)
        assert foreign.status_code == 404
        assert without_instance(foreign) == without_instance(random)
    assert names(stranger) == []
    assert read(me, category) == category


def test_an_admin_manages_everyones_categories() -> None:
    me, boss = Api(alice()), Api(adam())
    category = made(me)
    task = task_in(me, category)
    assert boss.get(f"categories/{category['id']}/").json() == read(me, category)
    assert boss.patch(f"categories/{category['id']}/", {"name": "Work"}).json()["owner"] == str(me.user.id)
    assert names(boss) == ["Work"]
    assert boss.delete(f"categories/{category['id']}/").status_code == 204
    assert me.get(f"tasks/{task['id']}/").json()["category"] is None
    assert [action for action, _ in log_of(me.user)][-3:] == ["category.updated", "task.updated", "category.deleted"]
    assert log_of(boss.user) == []


def test_an_admin_filters_by_owner() -> None:
    me, other, boss = Api(alice()), Api(bob()), Api(adam())
    made(me, "Mine")
    made(other, "Theirs")
    assert names(boss, f"owner={me.user.id}") == ["Mine"]
    assert names(boss, f"owner__ne={me.user.id}") == ["Theirs"]
    assert names(me, f"owner={other.user.id}") == []


def test_nothing_is_left_of_an_update_that_the_database_refuses() -> None:
    me = Api(alice())
    made(me, "Home")
    work = made(me, "Work")
    assert me.patch(f"categories/{work['id']}/", {"name": "home", "position": 9}).status_code == 409
    assert Category.objects.get(pk=work["id"]).position == 0
    assert me.post("categories/", {"name": "Third"}).status_code == 201
    from duely.activity.models import Change

    assert list(Change.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]
