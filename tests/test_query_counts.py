"""What each operation costs the database: statements, with BEGIN and COMMIT, whatever the number of rows."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from cast import Api, adam, alice, bob, log_of, person
from contract import content_of
from duely.activity.actions import Nobody, follow, record
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.database.statements import insert_statement
from duely.tasks.models import Category, Task, TaskWords
from duely.transfer.rules import BATCH

READ = 2
WRITE = 5
"""Round trips on PostgreSQL: the sign-in check, BEGIN, read and lock, write with counter and log row, COMMIT."""
WRITE_ON_SQLITE = 7
"""There the three writes are three statements, and none is a round trip."""
WORDS = 1
"""Another one on SQLite, where a search looks at what is written."""


def cost(call: Callable[[], Any], status: int) -> list[str]:
    """The statements of one call."""
    connection.ensure_connection()
    with CaptureQueriesContext(connection) as queries:
        response = call()
    assert response.status_code == status, response.content
    return [query["sql"] for query in queries.captured_queries]


def assert_cost(statements: list[str], postgresql: int, sqlite: int) -> None:
    expected = postgresql if connection.vendor == "postgresql" else sqlite
    shown = "\n".join(statement[:200] for statement in statements)
    assert len(statements) == expected, f"{len(statements)} statements:\n{shown}"


def fill(user: Any, number: int) -> None:
    """So many more tasks in categories, each with entries in the log."""
    api = Api(user)
    for index in range(number):
        category = api.post("categories/", {"name": f"{new_id()}", "position": index}).json()
        task = {"title": "x", "category": category["id"], "due_date": "2099-01-31", "tags": ["a"]}
        assert api.post("tasks/", task).status_code == 201


LISTS = ["tasks/", "categories/", "activity-logs/"]
READS = [
    "tasks/",
    "tasks/?limit=100&status__ne=cancelled&tag=a&due_date__gte=2000-01-01&ordering=-priority,due_date",
    "categories/",
    "categories/?limit=100&ordering=name",
    "activity-logs/",
    "activity-logs/?limit=100&action=task.created&ordering=seq",
    "auth/sessions/",
    "profile/",
    "users/me/",
]


@pytest.mark.parametrize("person", [alice, adam])
def test_a_read_costs_two_statements_with_the_sign_in_check(committed_db: None, person: Any) -> None:
    api = Api(person())
    for rows in (1, 10):
        fill(api.user, rows)
        for path in READS:
            for method in ("GET", "HEAD"):
                assert_cost(cost(lambda call=(method, path): api.call(*call), 200), READ, READ)


def test_an_admins_list_of_users_costs_two_statements(committed_db: None) -> None:
    boss = Api(adam())
    alice()
    assert_cost(cost(lambda: boss.get("users/"), 200), READ, READ)
    assert_cost(cost(lambda: boss.get(f"users/{boss.user.id}/"), 200), READ, READ)


def test_later_pages_cost_what_the_first_costs(committed_db: None) -> None:
    me = Api(alice())
    for rows in (2, 10):
        fill(me.user, rows)
        for path in LISTS:
            cursor = me.get(f"{path}?limit=1").json()["pagination"]["next_cursor"]
            query = f"{path}?limit=100&cursor={cursor}"
            assert_cost(cost(lambda query=query: me.get(query), 200), READ, READ)


def test_a_numbered_page_costs_one_statement_more_to_count_the_rows(committed_db: None) -> None:
    me = Api(alice())
    for rows in (1, 10):
        fill(me.user, rows)
        for path in LISTS:
            assert_cost(cost(lambda path=path: me.get(f"{path}?page=1"), 200), READ + 1, READ + 1)


def test_one_object_costs_two_statements(committed_db: None) -> None:
    me = Api(alice())
    fill(me.user, 3)
    task, category = Task.objects.first(), Category.objects.first()
    assert_cost(cost(lambda: me.get(f"tasks/{task.id}/"), 200), READ, READ)
    assert_cost(cost(lambda: me.get(f"categories/{category.id}/"), 200), READ, READ)
    assert_cost(cost(lambda: me.get(f"tasks/{new_id()}/"), 404), READ, READ)


def test_a_request_without_a_valid_token_costs_nothing_or_one_statement(committed_db: None) -> None:
    assert cost(lambda: Api().get("tasks/"), 401) == []
    assert cost(lambda: Api(headers={"Authorization": "Bearer a.b.c"}).get("tasks/"), 401) == []
    me = Api(alice())
    for method, path, body, status in [
        ("POST", "tasks/", {"title": ""}, 400),
        ("GET", "tasks/?x=1", None, 400),
    ]:
        assert_cost(cost(lambda call=(method, path, body): me.call(*call), status), 1, 1)
    assert cost(lambda: me.call("FOO", "tasks/"), 405) == []
    assert cost(lambda: me.get("nowhere/"), 404) == []
    assert cost(lambda: me.post("tasks/", b" " * (1024 * 1024 + 1)), 413) == []


@pytest.mark.parametrize("rows", [0, 10])
def test_a_write_costs_five_round_trips_at_most(committed_db: None, rows: int) -> None:
    me = Api(alice())
    fill(me.user, rows)
    created = cost(lambda: me.post("tasks/", {"title": "x", "due_date": "2099-01-31", "tags": ["a"]}), 201)
    assert_cost(created, WRITE, WRITE_ON_SQLITE + WORDS)
    made = cost(lambda: me.post("categories/", {"name": "Home"}), 201)
    assert_cost(made, WRITE - 1, WRITE_ON_SQLITE - 1)
    home = Category.objects.get(name="Home").id
    inside = cost(lambda: me.post("tasks/", {"title": "x", "category": str(home)}), 201)
    assert_cost(inside, WRITE, WRITE_ON_SQLITE + WORDS)
    task, other = Task.objects.filter(category=None).get().id, new_id()
    everything = {"title": "y", "status": "done", "tags": ["b"], "due_date": "2099-02-01", "priority": "low"}
    for body, words in (({"title": "z"}, WORDS), (everything, WORDS), ({"category": str(home)}, 0)):
        changed = cost(lambda body=body: me.patch(f"tasks/{task}/", body), 200)
        assert_cost(changed, WRITE, WRITE_ON_SQLITE + words)
    assert_cost(cost(lambda: me.put(f"tasks/{task}/", {"title": "w"}), 200), WRITE, WRITE_ON_SQLITE + WORDS)
    assert_cost(cost(lambda: me.patch(f"categories/{home}/", {"name": "Work"}), 200), WRITE, WRITE_ON_SQLITE)
    assert_cost(cost(lambda: me.delete(f"tasks/{task}/"), 204), WRITE, WRITE_ON_SQLITE)
    assert_cost(cost(lambda: me.patch("profile/", {"bio": "x"}), 200), WRITE, WRITE_ON_SQLITE)
    assert_cost(cost(lambda: me.delete(f"tasks/{other}/"), 404), 4, 4)


def test_an_admins_task_for_someone_else_costs_five_round_trips_at_most(committed_db: None) -> None:
    boss, me = Api(adam()), alice()
    made = cost(lambda: boss.post("tasks/", {"title": "x", "owner": str(me.id), "due_date": "2099-01-31"}), 201)
    assert_cost(made, WRITE, WRITE_ON_SQLITE + WORDS)


def test_a_change_that_changes_nothing_writes_nothing(committed_db: None) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()
    for body, postgresql, sqlite in (({}, READ, READ), ({"title": "x"}, WRITE - 1, WRITE_ON_SQLITE - 3)):
        statements = cost(lambda body=body: me.patch(f"tasks/{task['id']}/", body), 200)
        assert_cost(statements, postgresql, sqlite)
        assert not [sql for sql in statements if sql.startswith(("UPDATE", "INSERT", "WITH"))]


@pytest.mark.parametrize("tasks", [1, 3, 9])
def test_to_delete_a_category_costs_the_same_for_any_number_of_tasks(committed_db: None, tasks: int) -> None:
    me = Api(alice())
    home = me.post("categories/", {"name": "Home"}).json()
    for _ in range(tasks):
        me.post("tasks/", {"title": "x", "category": home["id"]})
    statements = cost(lambda: me.delete(f"categories/{home['id']}/"), 204)
    assert_cost(statements, 9, 9)


def test_a_new_time_zone_costs_one_statement_for_all_days_with_tasks(committed_db: None) -> None:
    me = Api(alice())
    for _ in range(5):
        for day in ("2099-01-31", "2099-02-01"):
            me.post("tasks/", {"title": "x", "due_date": day})
    statements = cost(lambda: me.patch("profile/", {"time_zone": "Europe/Berlin"}), 200)
    assert_cost(statements, WRITE + 1 + 1, WRITE_ON_SQLITE + 1 + 1)


def test_the_list_reads_no_column_that_it_does_not_show(committed_db: None) -> None:
    me = Api(alice())
    assert me.post("tasks/", {"title": "x"}).status_code == 201
    (_, statement) = cost(lambda: me.get("tasks/"), 200)
    assert "tag_keys" not in statement
    assert "former_status" not in statement


def bulk(api: Api, *operations: dict[str, Any]) -> list[str]:
    """The statements of many changes at once, all of which are done."""
    return cost(lambda: api.post("tasks/bulk/", {"operations": operations, "atomic": True}), 200)


def test_a_hundred_new_tasks_cost_ten_statements_at_most(committed_db: None) -> None:
    me = Api(alice())
    home = me.post("categories/", {"name": "Home"}).json()["id"]
    for number in (1, 100):
        # The sign-in check, BEGIN, owner, tasks, words, counter, log, COMMIT.
        assert_cost(bulk(me, *[{"op": "create", "title": f"New {index}"} for index in range(number)]), 8, 8)
    full = {"op": "create", "title": "x", "category": home, "due_date": "2099-01-31", "reminders": ["-PT30M", "-P1D"]}
    # Two more, for categories and for reminders.
    assert_cost(bulk(me, *[{**full, "id": str(new_id())} for _ in range(100)]), 10, 10)
    assert Task.objects.count() == 201


def test_a_hundred_new_dates_cost_what_one_costs(committed_db: None) -> None:
    me = Api(alice())
    for number in (1, 100):
        full = {"op": "create", "title": "x", "due_date": "2099-01-31", "reminders": ["-PT30M", "-P1D"]}
        ids = [str(new_id()) for _ in range(number)]
        bulk(me, *[{**full, "id": each} for each in ids])
        moved = {"op": "update", "due_date": "2099-02-01", "reminders": ["-PT30M", "-P2D"]}
        # The sign-in check, BEGIN, owner, tasks, reminders that go, reminders that move or come, rows, counter, log, COMMIT.
        assert_cost(bulk(me, *[{**moved, "id": each} for each in ids]), 10, 10)


def test_a_hundred_edits_cost_what_one_costs(committed_db: None) -> None:
    me = Api(alice())
    for number in (1, 100):
        operations = [{"op": "create", "title": f"Task {index}", "id": str(new_id())} for index in range(number)]
        bulk(me, *operations)
        ids = [operation["id"] for operation in operations]
        # The sign-in check, BEGIN, owner, tasks, what is written, counter, log, COMMIT; one more for words.
        assert_cost(bulk(me, *[{"op": "update", "id": key, "status": "completed"} for key in ids]), 8, 8)
        assert_cost(bulk(me, *[{"op": "update", "id": key, "title": f"New {key}"} for key in ids]), 9, 9)
        assert_cost(bulk(me, *[{"op": "delete", "id": key} for key in ids]), 8, 8)


def test_counts_and_the_trash_cost_one_statement_each(committed_db: None) -> None:
    me = Api(alice())
    for rows in (1, 10):
        fill(me.user, rows)
        for path in ("tasks/stats/", "tasks/trash/"):
            assert_cost(cost(lambda path=path: me.get(path), 200), READ, READ)


def test_a_restored_task_costs_as_much_as_an_edit(committed_db: None) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()
    me.delete(f"tasks/{task['id']}/")
    assert_cost(cost(lambda: me.post(f"tasks/{task['id']}/restore/"), 200), WRITE, WRITE_ON_SQLITE)


HOME = "0198c3a0-0000-7000-8000-000000000000"


def bring(api: Api, number: int) -> list[str]:
    """The statements of an import of so many tasks in one batch."""
    tasks = [{"id": f"0198c3a0-0000-7000-8000-{index:012}", "title": "x", "category": HOME} for index in range(number)]
    file = {"format": "duely", "version": 1, "categories": [{"id": HOME, "name": "Home"}], "tasks": tasks}
    return cost(lambda: api.post("import/", file), 200)


def test_an_import_costs_the_same_for_each_batch_however_many_tasks_are_in_it(committed_db: None) -> None:
    for number in (1, BATCH):
        me = Api(person(f"person{number}"))
        # The sign-in check, the quota. BEGIN, owner, categories and whether others have such ids, rows, counter, log,
        # COMMIT.
        # BEGIN, owner, categories, tasks and whether others have such ids, rows, words, counter, log, COMMIT.
        assert_cost(bring(me, number), 2 + 8 + 10, 2 + 8 + 10)
        assert_cost(bring(me, number), 2 + 5 + 6, 2 + 5 + 6)
        Task.objects.all().delete()
        Category.objects.all().delete()


def test_an_export_costs_the_same_few_statements_for_any_number_of_rows(committed_db: None) -> None:
    me = Api(alice())
    for path in ("export/", "export/?format=csv"):
        costs = []
        for _ in range(2):
            fill(me.user, 5)
            costs.append(len(cost(lambda path=path: kept(me.get(path)), 200)))
        assert costs[0] == costs[1] < 10


def kept(response: Any) -> Any:
    """An answer that has been read to its end."""
    assert content_of(response)
    return response


def verbs(api: Api, method: str, path: str, body: object = None, status: int = 200) -> list[str]:
    """The first word of each statement of one call."""
    return [sql.split()[0] for sql in cost(lambda: api.call(method.upper(), path, body), status)]


def test_reads_cost_one_statement_and_the_one_of_the_caller(committed_db: None) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x"}).json()["id"]
    assert verbs(me, "get", "tasks/") == ["SELECT", "SELECT"]
    assert verbs(me, "get", "tasks/?status=pending&ordering=due_date") == ["SELECT", "SELECT"]
    assert verbs(me, "get", f"tasks/{task}/") == ["SELECT", "SELECT"]


def test_a_plain_new_task_is_one_statement_on_postgresql(committed_db: None) -> None:
    me = Api(alice())
    found = verbs(me, "post", "tasks/", {"title": "x", "tags": ["a"], "priority": "high"}, 201)
    one = ["WITH"] if connection.vendor == "postgresql" else ["BEGIN", "INSERT", "INSERT", "INSERT", "INSERT", "COMMIT"]
    assert found == ["SELECT", *one]
    ((action, _),) = log_of(me.user)
    assert action == "task.created"
    assert TaskWords.objects.count() == 1


def test_a_new_task_that_hangs_on_other_rows_locks_its_owner_first(committed_db: None) -> None:
    me = Api(alice())
    found = verbs(me, "post", "tasks/", {"title": "x", "due_date": "2099-01-31"}, 201)
    assert found[:3] == ["SELECT", "BEGIN", "SELECT"]
    assert found[-1] == "COMMIT"


EDITS_OF_THE_ROW = [
    {"priority": "high"},
    {"completed": True},
    {"tags": ["a", "b"]},
    {"due_date": "2099-01-31T12:00:00Z"},
    {"category": None, "status": "in_progress"},
    {"reminders": []},
]


@pytest.mark.parametrize("body", EDITS_OF_THE_ROW)
def test_an_edit_of_the_tasks_row_alone_reads_and_writes_once(committed_db: None, body: dict[str, object]) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x", "reminders": ["2099-01-01T12:00:00Z"]}).json()["id"]
    if "due_date" in body or "reminders" in body:
        assert me.patch(f"tasks/{task}/", {"reminders": []}).status_code == 200
        body = body if "due_date" in body else {**body, "priority": "low"}
    found = verbs(me, "patch", f"tasks/{task}/", body)
    one = ["WITH"] if connection.vendor == "postgresql" else ["BEGIN", "UPDATE", "INSERT", "INSERT", "COMMIT"]
    assert found == ["SELECT", "SELECT", *one]


EDITS_OF_MORE = [
    {"title": "y"},
    {"due_date": "2099-01-31"},
    {"due_date": "2099-01-31T12:00:00Z"},
    {"reminders": []},
]


@pytest.mark.parametrize("body", EDITS_OF_MORE)
def test_an_edit_of_more_locks_the_task_and_writes_once(committed_db: None, body: dict[str, object]) -> None:
    me = Api(alice())
    task = me.post("tasks/", {"title": "x", "reminders": ["-PT1H"], "due_date": "2098-01-31"}).json()["id"]
    with CaptureQueriesContext(connection) as queries:
        assert me.patch(f"tasks/{task}/", body).status_code == 200
    assert sum("FOR NO KEY UPDATE" in query["sql"] for query in queries) == (connection.vendor == "postgresql")


def test_a_task_and_its_log_are_there_together_or_not_at_all(committed_db: None) -> None:
    """A statement by itself fails as a whole."""
    me, other = Api(alice()), Api(bob())
    task = other.post("tasks/", {"title": "x"}).json()["id"]
    again = Task.objects.get(pk=task)
    with pytest.raises(IntegrityError):
        record(None, "task.created", again, at=now(), write=insert_statement(again), alone=True)
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
