"""What becomes of the rows of a file: made, changed, left alone, or refused before anything is written."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIRequest
from django.test import Client
from django.urls import resolve

from cast import V1, Api, alice, bob, faults, iris, log_of
from duely.activity.models import Change
from duely.core import drain
from duely.core.clock import now, rfc3339
from duely.core.drain import Stage
from duely.core.errors import MAX_REPORTED, MalformedRequest
from duely.core.ids import derived_id
from duely.tasks.models import Category, Task
from duely.tasks.rules import Status, standing_of
from duely.transfer import imports
from duely.transfer.uploads import received
from transfer.helpers import bring, counts, export

pytestmark = pytest.mark.django_db
ONE, TWO, THREE = (f"0198c3a0-0000-7000-8000-{number:012}" for number in (1, 2, 3))
EARLIER, LATER = "2001-01-31T09:00:00.000Z", "2031-01-31T09:00:00.000Z"


def file(tasks: Any = (), categories: Any = ()) -> dict[str, Any]:
    return {"format": "duely", "version": 1, "categories": [*categories], "tasks": [*tasks]}


def task_of(api: Api, task_id: str) -> dict[str, Any]:
    response = api.get(f"tasks/{task_id}/")
    assert response.status_code == 200, response.content
    task: dict[str, Any] = response.json()
    return task


# What is there already

NEWER: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"title": "Bread"}, {"title": ["Milk", "Bread"]}, "task.updated"),
    ({"title": "Milk", "status": "completed"}, {"status": ["pending", "completed"]}, "task.status_changed"),
    ({"title": "Bread", "status": "in_progress"}, {}, "task.status_changed"),
    ({"title": "Milk", "deleted_at": EARLIER}, {"deleted_at": [None, EARLIER]}, "task.deleted"),
    ({"title": "Milk", "tags": ["a"], "priority": "high"}, {}, "task.updated"),
]


@pytest.mark.parametrize("fields, changes, action", NEWER)
def test_a_task_that_is_newer_in_the_file_changes(fields: dict[str, Any], changes: dict[str, Any], action: str) -> None:
    user = alice()
    me = Api(user)
    bring(me, file([{"id": ONE, "title": "Milk", "created_at": EARLIER, "updated_at": EARLIER, "version": 4}]))
    newer = {"id": ONE, "created_at": LATER, "updated_at": LATER, "version": 9, **fields}
    answer = bring(me, file([newer]))
    assert counts(answer) == {"updated": 1}
    row = Task.objects.get()
    # The file says what, not how often or since when.
    assert (row.version, rfc3339(row.created_at)) == (5, EARLIER)
    assert now() - timedelta(minutes=5) < row.updated_at <= now()
    found = answer.json()["sample"][0]
    assert {name: found[name] for name in fields if name != "deleted_at"} == {
        name: value for name, value in fields.items() if name != "deleted_at"
    }
    assert log_of(user)[-1][0] == action
    assert not changes or log_of(user)[-1][1].items() >= changes.items()


def test_a_task_comes_out_of_the_trash_when_the_file_is_newer() -> None:
    user = alice()
    me = Api(user)
    gone = {"id": ONE, "title": "Milk", "created_at": EARLIER, "updated_at": EARLIER, "deleted_at": EARLIER}
    bring(me, file([gone]))
    assert me.get(f"tasks/{ONE}/").status_code == 404
    assert counts(bring(me, file([{"id": ONE, "title": "Milk", "updated_at": LATER}]))) == {"updated": 1}
    assert task_of(me, ONE)["title"] == "Milk"
    assert log_of(user)[-1] == ("task.restored", {"deleted_at": [EARLIER, None]})


@pytest.mark.parametrize("more", [{}, {"updated_at": EARLIER}], ids=["undated", "older"])
def test_a_task_that_has_changed_here_since_stays(more: dict[str, str]) -> None:
    user = alice()
    me = Api(user)
    task = me.post("tasks/", {"title": "Milk"}).json()
    log = log_of(user)
    answer = bring(me, file([{"id": task["id"], "title": "Bread", **more}]))
    assert counts(answer) == {"kept": 1}
    assert answer.json()["sample"] == [task]
    assert (task_of(me, task["id"]), log_of(user)) == (task, log)


def test_reminders_that_were_sent_are_not_sent_again(work: Any, mailbox: Any) -> None:
    user = alice()
    user.email_verified_at = now()
    user.save()
    me = Api(user)
    due = rfc3339(now() + timedelta(minutes=30))
    task = me.post("tasks/", {"title": "Milk", "due_date": due, "reminders": ["-PT1H", "-PT10M"]}).json()
    rows = [*task_reminders(task["id"])]
    newer = {"id": task["id"], "title": "Bread", "due_date": due, "reminders": ["-PT1H", "-PT10M"], "updated_at": LATER}
    assert counts(bring(me, file([newer]))) == {"updated": 1}
    assert [*task_reminders(task["id"])] == rows


def task_reminders(task_id: str) -> Any:
    from duely.tasks.models import Reminder

    return Reminder.objects.filter(task_id=task_id).order_by("remind_at").values_list("remind_at", flat=True)


def test_ids_of_others_lead_to_nothing_of_theirs() -> None:
    user, other = alice(), bob()
    me, them = Api(user), Api(other)
    home = me.post("categories/", {"name": "Home"}).json()
    task = me.post("tasks/", {"title": "Milk", "category": home["id"]}).json()
    before, log = export(me).partition(b'"profile"')[2], log_of(user)
    theirs = file(
        [{"id": task["id"], "title": "Mine now", "updated_at": LATER, "category": home["id"]}],
        [{"id": home["id"], "name": "Mine too", "updated_at": LATER}],
    )
    answer = bring(them, theirs)
    assert (counts(answer), counts(answer, "categories")) == ({"created": 1}, {"created": 1})
    assert (export(me).partition(b'"profile"')[2], log_of(user)) == (before, log)
    copy = Task.objects.get(owner_id=other.id)
    assert copy.id == derived_id(str(other.id), task["id"])
    assert copy.category_id == derived_id(str(other.id), home["id"])
    again = bring(them, theirs)
    assert (counts(again), counts(again, "categories")) == ({"unchanged": 1}, {"unchanged": 1})


def test_a_category_of_others_is_none_that_a_file_can_name() -> None:
    me, them = Api(alice()), Api(bob())
    home = me.post("categories/", {"name": "Home"}).json()["id"]
    for category in (home, THREE):
        answer = bring(them, file([{"id": TWO, "title": "Fine"}, {"id": ONE, "title": "Milk", "category": category}]))
        assert (answer.status_code, faults(answer)) == (400, {"tasks[1].category": "not_found"})
    assert not Task.objects.exists()
    assert counts(bring(me, file([{"id": ONE, "title": "Milk", "category": home}]))) == {"created": 1}
    assert task_of(me, ONE)["category"] == home


# Categories

HOME = {"id": ONE, "name": "Home", "color": "#ff0000", "position": 2, "created_at": EARLIER, "updated_at": EARLIER}


def category(name: str) -> dict[str, Any]:
    columns = ("name", "color", "position", "version")
    return Category.objects.filter(name=name).values(*columns).get()


def test_a_category_of_the_same_name_is_the_same() -> None:
    user = alice()
    me = Api(user)
    mine = me.post("categories/", {"name": "HOME", "color": "#00ff00"}).json()["id"]
    answer = bring(me, file([{"id": TWO, "title": "Milk", "category": ONE}], [HOME]))
    assert counts(answer, "categories") == {"kept": 1}
    assert Category.objects.get().name == "HOME"
    assert task_of(me, TWO)["category"] == mine


def test_a_category_that_is_newer_in_the_file_changes() -> None:
    user = alice()
    me = Api(user)
    assert counts(bring(me, file([], [HOME])), "categories") == {"created": 1}
    assert counts(bring(me, file([], [HOME])), "categories") == {"unchanged": 1}
    older = {**HOME, "name": "House", "updated_at": EARLIER}
    assert counts(bring(me, file([], [older])), "categories") == {"kept": 1}
    newer = {**HOME, "name": "House", "position": 7, "updated_at": LATER}
    assert counts(bring(me, file([], [newer])), "categories") == {"updated": 1}
    assert category("House") == {"name": "House", "color": "#ff0000", "position": 7, "version": 2}
    assert log_of(user)[-1] == ("category.updated", {"name": ["Home", "House"], "position": [2, 7]})
    assert counts(bring(me, file([], [newer])), "categories") == {"unchanged": 1}


def test_a_category_does_not_take_the_name_of_another() -> None:
    me = Api(alice())
    bring(me, file([], [HOME]))
    me.post("categories/", {"name": "Work"})
    newer = {**HOME, "name": "work", "color": "#0000ff", "updated_at": LATER}
    assert counts(bring(me, file([], [newer])), "categories") == {"updated": 1}
    assert category("Home")["color"] == "#0000ff"
    assert category("Work")["color"] != "#0000ff"


def test_two_categories_of_one_name_in_a_file_become_one() -> None:
    me = Api(alice())
    both = [HOME, {"id": TWO, "name": "home"}]
    tasks = [{"id": TWO, "title": "a", "category": ONE}, {"id": THREE, "title": "b", "category": TWO}]
    bring(me, file(tasks, both))
    assert Category.objects.count() == 1
    assert {task_of(me, TWO)["category"], task_of(me, THREE)["category"]} == {ONE}


def test_as_many_categories_as_are_allowed_come_in_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    many = [{"id": f"0198c3a0-0000-7000-8000-{n:012}", "name": f"c{n}"} for n in range(1000)]
    assert counts(bring(me, file([], many)), "categories") == {"created": 1000}
    assert counts(bring(me, file([], many)), "categories") == {"unchanged": 1000}
    monkeypatch.setattr(imports, "MAX_CATEGORIES", 3)
    assert counts(bring(me, file([], many[:3])), "categories") == {"unchanged": 3}
    answer = bring(me, file([], many[:4]))
    assert (answer.status_code, faults(answer)) == (400, {"categories": "too_many"})
    tasks = [{"id": category["id"], "title": "x", "category": category["id"]} for category in many[:4]]
    assert faults(bring(me, file(tasks))) == {"categories": "too_many"}


def test_as_many_tasks_as_are_allowed_come_in_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    monkeypatch.setattr(imports, "MAX_TASKS", 2)
    tasks = [{"id": each, "title": "x"} for each in (ONE, TWO, THREE)]
    answer = bring(me, file(tasks))
    assert (answer.status_code, faults(answer)) == (400, {"tasks": "too_many"})
    assert not Task.objects.exists()
    assert counts(bring(me, file(tasks[:2]))) == {"created": 2}


def test_an_import_stops_with_the_server_and_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    tasks = [{"id": each, "title": "x"} for each in (ONE, TWO, THREE)]
    monkeypatch.setattr(imports, "BATCH", 1)
    monkeypatch.setattr(drain, "_shared", bytearray(1))
    with monkeypatch.context() as stopping:
        stopping.setattr(imports, "yield_slot", lambda: drain.enter(Stage.ENDING))
        answer = bring(me, file(tasks))
    drain.enter(Stage.SERVING)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "Send the same file again" in answer.json()["detail"]
    assert Task.objects.count() == 1
    assert counts(bring(me, file(tasks))) == {"created": 2, "unchanged": 1}


def test_a_category_that_goes_while_the_file_comes_in_takes_no_task_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Api(alice())
    monkeypatch.setattr(imports, "BATCH", 1)
    monkeypatch.setattr(imports, "yield_slot", lambda: me.delete(f"categories/{ONE}/"))
    tasks = [{"id": each, "title": "x", "category": ONE} for each in (ONE, TWO, THREE)]
    assert counts(bring(me, file(tasks, [HOME]))) == {"created": 3}
    assert [task_of(me, each)["category"] for each in (ONE, TWO, THREE)] == [None] * 3


# Faults

FAULTY: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"title": "No id"}, {"tasks[1].id": "required"}),
    ({"id": "nonsense", "title": "x"}, {"tasks[1].id": "invalid_id"}),
    ({"id": ONE, "title": " "}, {"tasks[1].title": "required"}),
    ({"id": ONE, "title": "x", "owner": ONE}, {"tasks[1].owner": "unknown_field"}),
    ({"id": ONE, "title": "x", "version": 0}, {"tasks[1].version": "out_of_range"}),
    ({"id": ONE, "title": "x", "version": 2**31 - 1}, {"tasks[1].version": "out_of_range"}),
    ({"id": ONE, "title": "x", "created_at": "yesterday"}, {"tasks[1].created_at": "invalid_datetime"}),
    ({"id": ONE, "title": "x", "created_at": "0001-01-01T00:00:00Z"}, {"tasks[1].created_at": "out_of_range"}),
    ({"id": ONE, "title": "x", "deleted_at": 5}, {"tasks[1].deleted_at": "invalid_datetime"}),
    ({"id": ONE, "status": "late", "priority": 9}, {}),
]


@pytest.mark.parametrize("row, expected", FAULTY)
def test_a_faulty_row_is_named_and_nothing_is_written(row: dict[str, Any], expected: dict[str, str]) -> None:
    me = Api(alice())
    before = Change.objects.count()
    answer = bring(me, file([{"id": TWO, "title": "Fine"}, row], [HOME]))
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    if expected:
        assert faults(answer) == expected
    else:
        assert faults(answer).keys() == {"tasks[1].title", "tasks[1].status", "tasks[1].priority"}
    assert (Task.objects.count(), Category.objects.count(), Change.objects.count()) == (0, 0, before)


def test_a_row_that_is_no_object_is_named() -> None:
    me = Api(alice())
    answer = bring(me, {**file(), "tasks": ["x"], "categories": [None]})
    assert faults(answer) == {"tasks[0]": "invalid_type", "categories[0]": "invalid_type"}


def test_no_more_faults_are_told_than_help() -> None:
    answer = bring(Api(alice()), file([{"title": "x"}] * 1000))
    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == MAX_REPORTED


OTHERS: list[tuple[Any, str]] = [
    ("{}", "Known kinds: Duely: the export as JSON"),
    ({"version": 1}, "an object with version. Known kinds: Duely"),
    ({"format": "duely"}, "an object with format. Known kinds: Duely"),
    ({"format": "duely", "version": 2}, '"version": 1'),
    ({"format": "trello", "version": 1}, '"format": "duely"'),
    ({**file(), "tasks": {}}, "expected [ at"),
    ({**file(), "tasks": 5}, "expected [ at"),
    ("{", "not valid JSON"),
    ("nonsense", "title"),
    ("\ufeff \n", "empty"),
]


@pytest.mark.parametrize("content, word", OTHERS)
def test_what_is_no_file_of_ours_is_refused_with_a_reason(content: Any, word: str) -> None:
    answer = bring(Api(alice()), content)
    assert answer.status_code == 400
    assert word in answer.content.decode().replace('\\"', '"')


def test_a_file_with_things_that_are_not_taken_comes_in() -> None:
    me = Api(alice())
    more = {"profile": {"role": "admin"}, "activity": [{"seq": 1}, {"seq": 2}], "later": {"deep": [1, [2]]}}
    answer = bring(me, {**more, **file([{"id": ONE, "title": "Milk"}])})
    assert counts(answer) == {"created": 1}
    notes = {note["field"]: (note["reason"], note["message"]) for note in answer.json()["notes"]}
    assert {field: reason for field, (reason, _) in notes.items()} == {
        "profile": "not_imported",
        "activity": "not_imported",
        "later": "left_out",
    }
    assert "not your profile or change log" in notes["profile"][1]
    assert me.get("users/me/").json()["role"] == "member"
    assert counts(bring(me, {**file(), "tasks": None, "categories": None})) == {}


def test_an_intern_brings_in_what_an_intern_may_make() -> None:
    me = Api(iris())
    assert counts(bring(me, file([{"id": ONE, "title": "Milk"}], [HOME]))) == {"created": 1}


def test_two_rows_with_the_same_id_are_refused() -> None:
    me = Api(alice())
    rows = [{"id": each, "title": "x"} for each in (ONE, TWO, ONE, THREE, TWO)]
    answer = bring(me, file(rows))
    assert (answer.status_code, faults(answer)) == (400, {"tasks[2].id": "repeated", "tasks[4].id": "repeated"})
    table = export(me, "csv") + 2 * f"{ONE},Milk,,,,,,,,,,,,,1\n".encode()
    assert faults(bring(me, table, "text/csv")) == {"rows[3].id": "repeated"}
    assert not Task.objects.exists()


# A look before the leap


def test_a_preview_says_what_would_be_and_changes_nothing() -> None:
    user = alice()
    me = Api(user)
    mine = me.post("tasks/", {"title": "Mine"}).json()
    log = log_of(user)
    rows = [{"id": f"0198c3a0-0000-7000-8000-{n:012}", "title": f"Task {n}", "category": ONE} for n in range(8)]
    rows += [{"id": mine["id"], "title": "Newer", "updated_at": LATER}]
    preview = bring(me, file(rows, [HOME]), preview=True)
    assert (preview.json()["preview"], len(preview.json()["sample"])) == (True, 5)
    assert (Task.objects.count(), Category.objects.count(), log_of(user)) == (1, 0, log)
    real = bring(me, file(rows, [HOME]))
    told = {"created": 8, "updated": 1}
    assert (counts(preview), counts(real)) == (told, told)
    assert [task["title"] for task in preview.json()["sample"]] == [task["title"] for task in real.json()["sample"]]
    assert not real.json()["preview"]


def test_a_preview_names_the_same_faults() -> None:
    me = Api(alice())
    assert faults(bring(me, file([{"title": "No id"}]), preview=True)) == {"tasks[0].id": "required"}


# What goes in


def upload(api: Api, content: bytes, media: str, **more: Any) -> Any:
    return Client().generic("POST", f"{V1}import/", content, content_type=media, headers=api.headers, **more)


@pytest.mark.parametrize(
    "media", ["text/html", "application/x-www-form-urlencoded", "image/png", "multipart/mixed", ""]
)
def test_other_media_types_are_refused(media: str) -> None:
    answer = upload(Api(alice()), b"{}", media)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "text/csv" in answer.json()["detail"]


def test_what_a_file_is_shows_in_it_whatever_its_media_type() -> None:
    me = Api(alice())
    assert upload(me, b"title\nMilk\n", "application/json").json()["format"] == "csv"
    assert upload(me, b'\xef\xbb\xbf {"format":"duely","version":1}', "text/csv").json()["format"] == "duely"


def test_an_empty_body_is_refused() -> None:
    answer = upload(Api(alice()), b"", "text/csv", CONTENT_TYPE="text/csv")
    assert (answer.status_code, answer.json()["detail"]) == (400, "The file is empty.")


class Broken(io.BytesIO):
    """A connection that ends."""

    def read(self, *_: Any) -> bytes:
        raise OSError("connection reset")


@pytest.mark.parametrize("stream", [io.BytesIO(b"title\nMilk\n"), io.BytesIO(), Broken()])
def test_a_body_that_ends_early_is_refused(stream: io.BytesIO) -> None:
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/csv", "CONTENT_LENGTH": "100", "wsgi.input": stream}
    with pytest.raises(MalformedRequest):
        received(WSGIRequest(environ))


def test_only_the_import_takes_more_than_a_mebibyte_and_not_without_end() -> None:
    me = Api(alice())
    rows = b"title,description\n" + b"".join(b"Task %d,%s\n" % (n, b"x" * 60_000) for n in range(20))
    assert len(rows) > 1024 * 1024
    assert counts(upload(me, rows, "text/csv")) == {"created": 20}
    (limit,) = django_settings.LARGE_BODIES.values()
    refused = upload(me, b"", "text/csv", CONTENT_LENGTH=str(limit + 1))
    assert (refused.status_code, "Content-Length" in refused.json()["detail"]) == (413, True)
    for path in django_settings.LARGE_BODIES:
        assert resolve(path).func.view_class.__name__ == "Imports"
    assert me.call("POST", "tasks/", b" " * (1024 * 1024 + 1)).status_code == 413


def test_other_spellings_of_the_path_take_as_much() -> None:
    me = Api(alice())
    body = b"title,description\n" + b"".join(b"Task %d,%s\n" % (n, b"x" * 60_000) for n in range(20))
    for path in ("/api/v1/import/", "/api/v1/import"):
        answer = Client().generic("POST", path, body, content_type="text/csv", headers=me.headers)
        assert answer.status_code == 200, path


# Standings that do not go together

AT = now()
LATE, NOT_YET = AT - timedelta(days=1), AT + timedelta(days=1)
COMPLETED, OVERDUE, PENDING, IN_PROGRESS = Status.COMPLETED, Status.OVERDUE, Status.PENDING, Status.IN_PROGRESS
STANDINGS: list[tuple[dict[str, Any], Any, tuple[Any, Any, Any]]] = [
    ({"status": PENDING, "former_status": IN_PROGRESS, "completed_at": AT}, LATE, (PENDING, None, None)),
    ({"status": COMPLETED, "completed_at": LATE}, None, (COMPLETED, None, LATE)),
    ({"status": COMPLETED, "completed_at": None}, None, (COMPLETED, None, AT)),
    ({"status": COMPLETED, "former_status": PENDING}, None, (COMPLETED, None, AT)),
    ({"status": OVERDUE, "former_status": IN_PROGRESS}, LATE, (OVERDUE, IN_PROGRESS, None)),
    ({"status": OVERDUE, "former_status": COMPLETED}, LATE, (OVERDUE, PENDING, None)),
    ({"status": OVERDUE}, LATE, (OVERDUE, PENDING, None)),
    ({"status": OVERDUE, "former_status": IN_PROGRESS}, NOT_YET, (IN_PROGRESS, None, None)),
    ({"status": OVERDUE}, None, (PENDING, None, None)),
]


@pytest.mark.parametrize("wanted, due_at, expected", STANDINGS)
def test_a_standing_is_put_right(wanted: dict[str, Any], due_at: Any, expected: tuple[Any, Any, Any]) -> None:
    found = standing_of(wanted, due_at, AT, AT)
    assert (found.status, found.former, found.completed_at) == expected
