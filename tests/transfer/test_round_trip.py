"""What goes out comes in again without a difference, and a second time without an effect."""

import codecs
import csv
import io
import json
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, adam, alice, bob, log_of, undone
from duely.activity.models import Change
from duely.core.clock import now
from duely.tasks.actions import mark_overdue
from duely.tasks.models import Category, Reminder, Task, TaskWords
from duely.transfer import exports
from duely.transfer.rules import BATCH
from transfer.helpers import bring, counts, export

pytestmark = pytest.mark.django_db


def full(api: Api) -> None:
    """A task of each kind, one in the trash, in and out of categories."""
    home = api.post("categories/", {"name": "Home", "color": "#ff0000", "position": 3}).json()["id"]
    api.post("categories/", {"name": "Empty"})
    milk = {"title": "Milk", "category": home, "tags": ["shop", "Ünï"], "priority": "urgent"}
    first = api.post("tasks/", {**milk, "due_date": "2099-01-31", "reminders": ["-PT1H", "-P1D"]}).json()
    api.patch(f"tasks/{first['id']}/", {"description": "two\nlines, and = more"})
    done = api.post("tasks/", {"title": "Done", "due_date": "2020-01-31T09:00:00.123Z"}).json()
    api.patch(f"tasks/{done['id']}/", {"status": "completed"})
    late = api.post("tasks/", {"title": "Late", "status": "in_progress", "due_date": "2099-01-31"}).json()
    Task.objects.filter(pk=late["id"]).update(due_on=date(2020, 1, 31), due_at=now() - timedelta(days=3))
    mark_overdue(now=now())
    gone = api.post("tasks/", {"title": "Gone", "category": home}).json()
    api.delete(f"tasks/{gone['id']}/")


def content(api: Api) -> dict[str, Any]:
    """What an import takes of an export."""
    whole = json.loads(export(api))
    return {name: whole[name] for name in ("categories", "tasks")}


def without_ids(found: dict[str, Any]) -> dict[str, Any]:
    names = {category["id"]: category["name"] for category in found["categories"]}
    categories = [{**category, "id": None} for category in found["categories"]]
    tasks = [{**task, "id": None, "category": names.get(task["category"])} for task in found["tasks"]]
    return {"categories": categories, "tasks": tasks}


def wipe(user: Any) -> None:
    """As if nothing had ever been there; the log stays."""
    Task.objects.filter(owner_id=user.id).delete()
    Category.objects.filter(owner_id=user.id).delete()


def test_an_export_holds_all_that_is_mine_and_nothing_of_others() -> None:
    user = alice()
    me, other = Api(user), Api(bob())
    full(me)
    full(other)
    me.patch("profile/", {"display_name": "Alice"})
    whole = json.loads(export(me))
    assert [*whole] == ["format", "version", "exported_at", "profile", "categories", "tasks", "activity"]
    assert (whole["format"], whole["version"]) == ("duely", 1)
    assert whole["profile"] == me.get("profile/").json()
    assert [category["name"] for category in whole["categories"]] == ["Empty", "Home"]
    assert [task["title"] for task in whole["tasks"]] == ["Milk", "Done", "Late", "Gone"]
    assert [entry["seq"] for entry in whole["activity"]] == [*range(1, len(log_of(user)) + 1)]
    for task in whole["tasks"][:3]:
        shown = me.get(f"tasks/{task['id']}/").json()
        shared = shown.keys() & task.keys()
        assert shown.keys() - shared == {"owner", "completed"}
        assert {name: task[name] for name in shared} == {name: shown[name] for name in shared}
    assert whole["activity"] == me.get("activity-logs/?ordering=seq&limit=100").json()["data"]


def test_the_table_has_a_row_for_each_task_and_no_cell_that_a_spreadsheet_would_run() -> None:
    me = Api(alice())
    full(me)
    evil = ["=1+1", "+1", "-1", "@A1", "'=1", "'", "''-", '="a",b', "plain, with comma"]
    for title in evil:
        me.post("tasks/", {"title": title, "description": f"\t{title}", "tags": [title.replace(",", "")]})
    rows = list(csv.reader(io.StringIO(export(me, "csv").decode("utf-8-sig"), newline="")))
    assert rows[0] == [*exports.COLUMNS]
    assert len(rows) == 1 + 4 + len(evil)
    cells = [cell for row in rows for cell in row if cell]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    # Two that were made within a millisecond stand in any order.
    titles = ["'=1+1", "'+1", "'-1", "'@A1", "''=1", "'", "'''-", '\'="a",b', evil[-1]]
    assert sorted(row[1] for row in rows[4:-1]) == sorted(titles)
    assert [row[6] for row in rows[1:4]] == ["Home", "", ""]


def test_a_table_says_that_it_is_utf8() -> None:
    me = Api(alice())
    me.post("tasks/", {"title": "é"})
    file = export(me, "csv")
    assert file.startswith(codecs.BOM_UTF8)
    assert not file.removeprefix(codecs.BOM_UTF8).startswith(codecs.BOM_UTF8)
    assert not export(me, "json").startswith(codecs.BOM_UTF8)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_spreadsheet_finds_a_formula_in_a_table(delimiter: str) -> None:
    me = Api(alice())
    for sign in ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"):
        run = f"{sign}cmd|' /C calc'!A0"
        for text in (run, f" {run}", f"a;{run}", f"a; {run}", f'a;"{run}"', f"a\t{run}", f"a\n{run}", f"\n {run}"):
            title = " ".join(text.split())
            assert me.post("tasks/", {"title": title, "description": text, "tags": [run]}).status_code == 201
    file = export(me, "csv").decode("utf-8-sig")
    rows = [
        *csv.reader(io.StringIO(file, newline=""), delimiter=delimiter),
        *(line.split(delimiter) for line in file.splitlines() if delimiter != ","),
    ]
    cells = [cell.strip().lstrip('"').strip() for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_is_a_file_that_is_sent_as_it_is_read(kind: str) -> None:
    me = Api(alice())
    full(me)
    response = me.get(f"export/?format={kind}")
    assert response.streaming
    assert response.headers["Content-Disposition"].startswith('attachment; filename="duely-20')
    assert response.headers["Content-Disposition"].endswith(f'.{kind}"')
    assert response.headers["Cache-Control"] == "no-store"
    content = contract.content_of(response)
    assert response.headers["Content-Length"] == str(len(content))
    head = me.call("HEAD", f"export/?format={kind}")
    assert contract.content_of(head) == b""
    assert head.headers["Content-Type"] == response.headers["Content-Type"]


def test_an_export_of_nothing_comes_in_too() -> None:
    me = Api(alice())
    for kind, media in (("json", "application/json"), ("csv", "text/csv")):
        answer = bring(me, export(me, kind), media)
        assert (counts(answer), counts(answer, "categories")) == ({}, {})


def test_an_account_comes_back_to_an_empty_one_as_it_was() -> None:
    user = alice()
    me = Api(user)
    full(me)
    before, file = content(me), export(me)
    wipe(user)
    assert content(me) == {"categories": [], "tasks": []}
    answer = bring(me, file)
    assert (counts(answer), counts(answer, "categories")) == ({"created": 4}, {"created": 2})
    assert content(me) == before


def test_the_table_brings_back_all_but_what_it_does_not_say_of_categories() -> None:
    user = alice()
    me = Api(user)
    full(me)
    before, file = content(me), export(me, "csv")
    wipe(user)
    assert counts(bring(me, file, "text/csv")) == {"created": 4}
    assert without_ids(content(me))["tasks"] == without_ids(before)["tasks"]
    assert [task["id"] for task in content(me)["tasks"]] == [task["id"] for task in before["tasks"]]


@pytest.mark.parametrize("kind, media", [("json", "application/json"), ("csv", "text/csv")])
def test_a_file_of_my_own_changes_nothing(kind: str, media: str) -> None:
    user = alice()
    me = Api(user)
    full(me)
    before, log, file = content(me), log_of(user), export(me, kind)
    rows = {**Task.objects.in_bulk()}
    tag = me.get("tasks/").headers["ETag"]
    answer = bring(me, file, media)
    assert counts(answer) == {"unchanged": 4}
    assert counts(answer, "categories").keys() == {"unchanged"}
    assert content(me) == before
    assert log_of(user) == log
    assert me.get("tasks/").headers["ETag"] == tag
    assert {**Task.objects.in_bulk()} == rows


@pytest.mark.parametrize("kind, media", [("json", "application/json"), ("csv", "text/csv")])
def test_it_goes_into_another_account_once_however_often_it_comes(kind: str, media: str) -> None:
    user, other = alice(), bob()
    me, them = Api(user), Api(other)
    full(me)
    before, file, mine = content(me), export(me, kind), [*Task.objects.values().order_by("id")]
    assert counts(bring(them, file, media)) == {"created": 4}
    log = log_of(other)
    assert counts(bring(them, file, media)) == {"unchanged": 4}
    assert log_of(other) == log
    assert [*Task.objects.filter(owner_id=user.id).values().order_by("id")] == mine
    theirs = content(them)
    assert without_ids(theirs)["tasks"] == without_ids(before)["tasks"]
    assert not {task["id"] for task in theirs["tasks"]} & {task["id"] for task in before["tasks"]}
    if kind == "json":
        assert without_ids(theirs) == without_ids(before)


def test_an_admin_brings_in_things_of_their_own() -> None:
    user, admin = alice(), adam()
    me = Api(user)
    full(me)
    before = content(me)
    assert counts(bring(Api(admin), export(me))) == {"created": 4}
    assert content(me) == before
    assert Task.objects.filter(owner_id=admin.id).count() == 4
    whole = json.loads(export(Api(admin)))
    assert {entry["actor"]["name"] for entry in whole["activity"]} == {"adam"}


def test_what_comes_in_is_found_reminded_of_and_logged_as_if_it_had_been_made_here() -> None:
    user, other = alice(), bob()
    me, them = Api(user), Api(other)
    full(me)
    bring(them, export(me))
    assert [task["title"] for task in them.get("tasks/?search=lines").json()["data"]] == ["Milk"]
    assert TaskWords.objects.filter(task__owner_id=other.id).count() == 4
    due = Reminder.objects.filter(task__owner_id=other.id).values_list("remind_at", flat=True)
    assert sorted(due) == sorted(Reminder.objects.filter(task__owner_id=user.id).values_list("remind_at", flat=True))
    actions = [action for action, _ in log_of(other)]
    assert actions == ["category.created"] * 2 + ["task.created"] * 4
    (changes,) = [changes for _, changes in log_of(other) if changes.get("title") == [None, "Gone"]]
    assert changes["deleted_at"][0] is None
    mine, theirs = (api.get("tasks/stats/").json() for api in (me, them))
    assert len(mine.pop("by_category")) == len(theirs.pop("by_category"))
    assert mine == theirs


def test_several_batches_come_in_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    me, them = Api(alice()), Api(bob())
    tasks = [{"id": f"0198c3a0-0000-7000-8000-{n:012}", "title": f"Task {n}"} for n in range(2 * BATCH + 1)]
    file = {"format": "duely", "version": 1, "tasks": tasks}
    assert counts(bring(me, file)) == {"created": len(tasks)}
    assert counts(bring(me, file)) == {"unchanged": len(tasks)}
    assert counts(bring(them, export(me))) == {"created": len(tasks)}
    assert len(content(them)["tasks"]) == len(tasks)


# Anything that a task can be

TRICKY = "'\"=+-@\uff1d\uff0b\uff0d\uff20;, \u00a0\u3000\ufeff\u200ba"
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=60) | st.text(
    f"{TRICKY}\t\r\n", max_size=12
)
TITLE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=60) | st.text(
    TRICKY, min_size=1, max_size=12
)
DUE = st.dates(date(1970, 1, 1), date(9998, 12, 31)).map(date.isoformat) | st.datetimes(
    datetime.fromisoformat("1970-01-02"), datetime.fromisoformat("9998-12-31")
).map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z")
FIELDS = st.fixed_dictionaries(
    {"title": TITLE},
    optional={
        "description": TEXT,
        "status": st.sampled_from(["pending", "in_progress", "completed", "cancelled"]),
        "priority": st.sampled_from(["low", "medium", "high", "urgent"]),
        "due_date": DUE,
        "tags": st.lists(TITLE.map(lambda text: text.replace(",", "")[:20]), max_size=3),
        "in_trash": st.booleans(),
    },
)


@pytest.mark.slow
@given(tasks=st.lists(FIELDS, min_size=1, max_size=5), kind=st.sampled_from(["json", "csv"]))
@settings(max_examples=25, deadline=None)
def test_any_tasks_come_back_as_they_were(tasks: list[dict[str, Any]], kind: str) -> None:
    with undone():
        user = alice()
        me = Api(user)
        for fields in tasks:
            wanted = {name: value for name, value in fields.items() if name != "in_trash"}
            made = me.post("tasks/", wanted)
            if made.status_code == 201 and fields.get("in_trash"):
                me.delete(f"tasks/{made.json()['id']}/")
        before, file = content(me), export(me, kind)
        wipe(user)
        answer = bring(me, file, {"json": "application/json", "csv": "text/csv"}[kind])
        assert counts(answer) == ({"created": len(before["tasks"])} if before["tasks"] else {})
        assert content(me) == before
        log = Change.objects.count()
        bring(me, file, {"json": "application/json", "csv": "text/csv"}[kind])
        assert Change.objects.count() == log
