"""Exports of other programs: each is recognised, comes in right, and nothing in it is lost without a word."""

import copy
import csv
import hashlib
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, log_of
from duely.core.clock import now, rfc3339
from duely.core.errors import BodyTooLarge
from duely.tasks.models import Category, Task
from duely.tasks.rules import IncomingCategory, IncomingTask, reminded_at
from duely.transfer.files import opened
from duely.transfer.formats import FORMATS, foreign
from duely.transfer.formats.ticktick import offset_of_whole_day
from duely.transfer.reading import MAX_EXAMPLE, MAX_NOTES, OTHERS, REASONS, Reading
from duely.transfer.rules import offset_text
from transfer.helpers import bring, counts, made, notes_of
from transfer.samples import SAMPLES, TASK_OF, TITLE_OF, archived, encoded

KEYS = ("description", "status", "priority", "due_date", "category", "tags", "reminders", "completed_at")


def answered(api: Api, sample: Any, *, preview: bool = False) -> Any:
    """The answer to an export."""
    content = sample if isinstance(sample, bytes) else encoded(sample)
    response = bring(api, content, "application/json", preview=preview)
    assert response.status_code == 200, response.content
    return response.json()


def read(content: bytes) -> tuple[list[Any], Reading]:
    """The rows of a file, and what its reader says."""
    reading = Reading()
    with opened(io.BytesIO(content), "UTC", now()) as source:
        return list(source.rows(reading)), reading


def fields_of(task: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(task[key] for key in KEYS)


# Which format it is


def test_there_is_a_sample_of_each_format() -> None:
    assert list(SAMPLES) == [format_.name for format_ in FORMATS]


def test_the_guide_lists_each_format() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/export-import.md").read_text()
    rows = [line.split(" | ")[:2] for line in guide.splitlines() if line.startswith("| ")]
    listed = [(program.removeprefix("| "), export) for program, export in rows[2 : 2 + len(FORMATS)]]
    assert listed == [(format_.program, format_.export) for format_ in FORMATS]


def test_the_document_names_each_format() -> None:
    schemas = contract.document()["components"]["schemas"]
    assert schemas["ImportResult"]["properties"]["format"]["enum"] == [format_.name for format_ in FORMATS]
    assert schemas["ImportNote"]["properties"]["reason"]["enum"] == [*REASONS]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_recognised(api: Api, name: str) -> None:
    answer = answered(api, SAMPLES[name])
    assert answer["format"] == name
    assert "Milk" in made(api)
    assert Category.objects.filter(name="Home").exists() or name in ("trello", "todoist")


@pytest.mark.parametrize("name", SAMPLES)
def test_one_format_alone_recognises_a_sample(name: str) -> None:
    from duely.transfer.formats.outline import of_document, of_table

    file = io.BytesIO(encoded(SAMPLES[name]))
    is_table = isinstance(SAMPLES[name], str)
    headers = {format_.name: format_ for format_ in FORMATS[:-1]}
    seen = (
        of_table(file, lambda cells: "Title" in cells or "TYPE" in cells, Reading())
        if is_table
        else of_document(file, Reading())
    )
    knowing = [other for other, format_ in headers.items() if format_.recognises(seen)]
    assert knowing == ([] if name == "csv" else [name])


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("is_archived", [False, True])
def test_the_same_again_changes_nothing(api: Api, name: str, is_archived: bool) -> None:
    content = encoded(SAMPLES[name])
    if is_archived:
        content = archived("export.json" if content[:1] in b"[{" else "export.csv", content)
    seen = answered(api, content, preview=True)
    assert not Task.objects.exists()
    first = answered(api, content)
    assert {key: first[key] for key in ("tasks", "categories", "notes")} == {
        key: seen[key] for key in ("tasks", "categories", "notes")
    }
    log, tasks = log_of(api.user), made(api)
    again = answered(api, content)
    assert again["tasks"] == {"created": 0, "updated": 0, "unchanged": len(tasks), "kept": 0}
    assert (log_of(api.user), made(api)) == (log, tasks)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_mark_of_its_encoding_does_not_matter(api: Api, name: str, encoding: str) -> None:
    text = encoded(SAMPLES[name]).decode("utf-8-sig")
    assert answered(api, text.encode(encoding))["format"] == name
    assert "Milk" in made(api)


UNKNOWN: dict[str, Any] = {
    "taskwarrior": [
        {"id": 1, "description": "Buy milk", "due": "20270101T100000Z", "status": "pending", "uuid": "5f1c"}
    ],
    "todoist rest": [{"id": "1", "content": "Buy milk", "project_id": "2", "is_completed": False}],
    "a list of tasks": [{"title": "Buy milk", "due_date": "2027-01-01"}, {"title": "Pay rent"}],
    "wunderlist": [{"id": 1, "title": "Groceries", "tasks": [{"id": 11, "title": "Milk", "completed": True}]}],
    "google, not tasks": {"kind": "youtube#list", "items": [{"snippet": {"title": "x"}}]},
    "an object": {"tasks": [{"title": "Milk"}], "lists": []},
    "numbers": [1, 2, 3],
    "nothing": [],
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_json_of_no_known_program_is_refused(api: Api, name: str) -> None:
    response = bring(api, encoded(UNKNOWN[name]))
    assert (response.status_code, response.json()["code"]) == (400, "unknown_format")
    detail = response.json()["detail"]
    assert all(f"{format_.program}: {format_.export}" in detail for format_ in FORMATS)
    outer = UNKNOWN[name][0] if isinstance(UNKNOWN[name], list) and UNKNOWN[name] else UNKNOWN[name]
    assert all(key in detail for key in list(outer)[:5]) if isinstance(outer, dict) else "no names in it" in detail
    assert not Task.objects.exists()
    assert not Category.objects.exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        "1",
        "-1.5e3",
        "1e999999",
        "9" * 5000,
        "NaN",
        "-Infinity",
        '""',
        '"text"',
        '"a,b"',
        "[]",
        "{}",
        " null\n",
        "true",
        "false",
    ],
)
def test_a_file_that_is_one_json_value_is_refused(api: Api, text: str, encoding: str) -> None:
    response = bring(api, text.encode(encoding), "text/csv")
    assert (response.status_code, response.json()["code"]) == (400, "unknown_format")
    assert all(f"{format_.program}: {format_.export}" in response.json()["detail"] for format_ in FORMATS)


@pytest.mark.parametrize("text", ['"title"\nMilk\n', "title\n1\n", '"title","done"\n"1","true"\n'])
def test_a_table_that_begins_as_json_does_is_a_table(api: Api, text: str) -> None:
    assert answered(api, text.encode())["format"] == "csv"


def test_google_takeout_is_read_from_its_folder(api: Api) -> None:
    content = archived("Takeout/Tasks/Tasks.json", encoded(SAMPLES["google_tasks"]))
    assert answered(api, content)["format"] == "google_tasks"


# What comes in


def test_a_board_of_trello_comes_in(api: Api) -> None:
    """After the fields of boards in Trello's REST API."""
    answer = answered(api, SAMPLES["trello"])
    tasks = made(api)
    assert fields_of(tasks["Milk"]) == (
        "Two *litres*\n\nShops:\n- [x] Market\n- [ ] Bakery\n\nAsk Bob\n\nAttachment: [List](https://example.org/list)",
        *("in_progress", "medium", "2099-01-31T09:00:00.000Z", "House", ["Doing", "shop", "red"], ["-PT1440M"], None),
    )
    assert tasks["Milk"]["created_at"] == "2020-07-13T08:24:11.000Z"
    assert tasks["Milk"]["updated_at"] == "2026-01-02T00:00:00.000Z"
    assert (tasks["Sold"]["status"], tasks["Built"]["status"]) == ("cancelled", "completed")
    left = {key for key in notes_of(answer) if key[1] != "internal"}
    assert left == {("card.closed", "changed"), ("card.attachments", "moved"), ("checklist.checkItems", "moved")}


def test_google_tasks_come_in(api: Api) -> None:
    """After the fields of Google's Tasks API, as Takeout writes them."""
    answer = answered(api, SAMPLES["google_tasks"])
    tasks = made(api)
    assert fields_of(tasks["Milk"]) == (
        "Two litres\n\nLink: [Mail](https://mail.example.org/1)",
        *("pending", "medium", "2099-01-31", "Home", [], [], None),
    )
    assert fields_of(tasks["Bread"]) == (
        "Part of: Milk",
        *("completed", "medium", None, "Home", [], [], "2026-01-03T00:00:00.000Z"),
    )
    assert "Gone" not in tasks
    left = {key for key in notes_of(answer) if key[1] != "internal"}
    assert left == {("task.deleted", "left_out"), ("task.links", "moved"), ("task.parent", "moved")}


@pytest.mark.parametrize("is_answer", [False, True])
def test_microsoft_todo_comes_in(api: Api, is_answer: bool) -> None:
    """After todoTaskList and todoTask of Microsoft Graph, as daylamtayari/Microsoft-To-Do-Export writes them."""
    api.patch("profile/", {"time_zone": "Europe/Berlin"})
    sample = SAMPLES["microsoft_todo"]
    answer = answered(api, {"@odata.context": "x", "value": sample} if is_answer else sample)
    tasks = made(api)
    assert fields_of(tasks["Milk"]) == (
        (
            "Two litres\n\nRepeats: every 2 weekly, monday, from 2026-01-01\n\n- [x] Market\n- [ ] Bakery\n\n"
            "Link: [Mail](https://mail.example.org/1)"
        ),
        *("in_progress", "high", "2099-01-31", "Home", ["shop"], ["2099-01-30T08:00:00.000Z"], None),
    )
    assert (tasks["Bread"]["status"], tasks["Bread"]["due_date"]) == ("pending", "2099-02-01")
    left = {key for key in notes_of(answer) if key[1] != "internal"}
    assert left == {
        *(("task.recurrence", "moved"), ("task.checklistItems", "moved"), ("task.linkedResources", "moved")),
        *(("task.status", "changed"), ("task.dueDateTime.timeZone", "not_understood")),
    }


@pytest.mark.parametrize("is_old", [False, True])
def test_a_backup_of_super_productivity_comes_in(api: Api, is_old: bool) -> None:
    """After task.model.ts of super-productivity/super-productivity; older backups have no `data`."""
    sample = SAMPLES["super_productivity"]
    answer = answered(api, sample["data"] if is_old else sample)
    tasks = made(api)
    assert fields_of(tasks["Milk"]) == (
        (
            "Two litres\n\nDeadline: 2099-02-28\n\nTime estimate: 60 minutes\n\nRepeats: every 1 weekly (monday)\n\n"
            "Attachment: [List](https://example.org/list)"
        ),
        *("pending", "high", "2099-01-31", "Home", ["shop"], ["2099-01-27T00:00:00.000Z"], None),
    )
    assert (tasks["Market"]["description"], tasks["Market"]["status"]) == ("Part of: Milk", "completed")
    assert (tasks["Old"]["status"], tasks["Old"]["category"]) == ("completed", None)
    assert not [key for key in notes_of(answer) if key[1] in ("left_out", "not_understood")]


@pytest.mark.parametrize(
    "reminder, at",
    [
        ("-PT15H", "2099-01-29T08:00"),
        ("P0DT9H0M0S", "2099-01-30T08:00"),
        ("TRIGGER:P0DT9H0M0S", "2099-01-30T08:00"),
        ("TRIGGER:-P0DT15H0M0S", "2099-01-29T08:00"),
        ("-P1DT15H0M0S", "2099-01-28T08:00"),
        ("PT0S", "2099-01-29T23:00"),
        ("P0D", "2099-01-29T23:00"),
        ("-P0DT0H0M", "2099-01-29T23:00"),
        ("P1D", "2099-01-30T23:00"),
        ("-P1W", "2099-01-22T23:00"),
    ],
)
def test_reminders_of_ticktick_count_from_the_beginning_of_the_day(reminder: str, at: str) -> None:
    offset = offset_of_whole_day(reminder)
    end_of_day = datetime(2099, 1, 30, 23, tzinfo=UTC)

    assert offset_text(offset) is not None
    assert reminded_at(offset, end_of_day, "Europe/Berlin") == datetime.fromisoformat(f"{at}+00:00")


@pytest.mark.parametrize("reminder", ["P1DT1M", "soon", "-PT5Q", "-PT30M30S", "-P"])
def test_a_reminder_after_the_day_is_not_understood(reminder: str) -> None:
    assert offset_text(offset_of_whole_day(reminder)) is None


def test_a_backup_of_ticktick_comes_in(api: Api) -> None:
    """After testdata_ticktick_export.csv of go-vikunja/vikunja; the two tasks are each a part of the other."""
    api.patch("profile/", {"time_zone": "America/New_York"})
    answer = answered(api, SAMPLES["ticktick"])
    tasks = made(api)
    assert fields_of(tasks["Milk"]) == (
        "Two litres\n\nStart: 2099-09-30\n\nRepeats: RRULE:FREQ=WEEKLY;INTERVAL=1\n\nPart of: Shopping",
        *("pending", "high", "2099-10-01", "Home", ["food", "shop", "Private"], ["-P1DT30M"], None),
    )
    assert fields_of(tasks["Shopping"]) == (
        "- [ ] Bread\n- [x] Wine\n\nPart of: Milk",
        *("completed", "medium", None, "Home", [], [], "2026-09-21T10:00:00.000Z"),
    )
    assert tasks["Never"]["status"] == "cancelled"
    assert {field for field, reason in notes_of(answer) if reason == "moved"} == {"Start Date", "Repeat", "parentId"}


@pytest.mark.parametrize("name", TASK_OF)
def test_a_newer_export_changes_what_nobody_changed_here(api: Api, name: str) -> None:
    answered(api, SAMPLES[name])
    newer = copy.deepcopy(SAMPLES[name])
    task = TASK_OF[name](newer)
    task[TITLE_OF.get(name, "title")] = "Oat milk"
    for field in ("updated", "lastModifiedDateTime", "dateLastActivity"):
        if field in task:
            task[field] = rfc3339(now())
    if "modified" in task:
        task["modified"] = 1_900_000_000_000

    answer = counts(bring(api, encoded(newer)))

    assert "created" not in answer
    assert answer["updated"] >= 1  # its subtasks may name it
    assert "Oat milk" in made(api)
    assert "Milk" not in made(api)


def test_the_identity_of_a_row_does_not_change_with_releases() -> None:
    """Else a file that came in before an upgrade would come in anew."""
    cells = next(csv.reader([SAMPLES["csv"].split("\n")[1]]))
    digest = hashlib.sha256("\x1f".join(cells).encode()).hexdigest()
    assert [row.source for row in read(encoded(SAMPLES["csv"]))[0] if isinstance(row, IncomingTask)] == [
        f"csv {digest} 1"
    ]
    row = next(csv.reader([SAMPLES["todoist"].split("\n")[1]]))
    digest = hashlib.sha256("\x1f".join(["", *row]).encode()).hexdigest()
    (task,) = read(encoded(SAMPLES["todoist"]))[0]
    assert task.source == f"todoist {digest} 1"
    (task, _) = read(encoded(SAMPLES["vikunja"]))[0]
    assert task.source == "vikunja 1 2026-01-01T00:00:00Z"


def test_ids_that_come_twice_are_tasks_of_their_own(api: Api) -> None:
    twice = copy.deepcopy(SAMPLES["google_tasks"])
    tasks = twice["items"][0]["items"]
    tasks.append({**tasks[0], "title": "Second"})
    answer = answered(api, twice)
    assert {"Milk", "Second"} <= {*made(api)}
    assert notes_of(answer)["task.id", "repeated"] == 1


# Nothing is lost without a word

NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=8).map(lambda name: f"x_{name}")
VALUES = (
    st.text("abcdefghij", min_size=1, max_size=200)
    | st.integers()
    | st.booleans()
    | st.lists(st.text("abc", min_size=1), min_size=1, max_size=3)
    | st.dictionaries(st.text("abc", min_size=1), st.integers(), min_size=1, max_size=3)
)


@pytest.mark.parametrize("name", TASK_OF)
@settings(max_examples=25, deadline=None)
@given(extra=st.dictionaries(NAMES, VALUES, max_size=4), long=st.booleans())
def test_every_further_value_of_a_document_is_noted(name: str, extra: dict[str, Any], long: bool) -> None:
    sample = copy.deepcopy(SAMPLES[name])
    TASK_OF[name](sample).update(extra)
    outer = sample[0] if isinstance(sample, list) else sample
    outer.update({f"{key}_outer": value for key, value in extra.items()})
    title = TITLE_OF.get(name, "title")
    if long:
        TASK_OF[name](sample)[title] = "long " * 100

    rows, reading = read(encoded(sample))

    noted = {note.field.rpartition(".")[2]: note for note in reading.notes}
    for key, value in extra.items():
        for field in (key, f"{key}_outer"):
            shown = value if isinstance(value, str) else json.dumps(value)
            assert (noted[field].count, noted[field].reason) == (1, "left_out")
            assert noted[field].example == shown or noted[field].example == shown[: MAX_EXAMPLE - 1] + "…"
    if long:
        assert (title, "moved") in {(note.field.rpartition(".")[2], note.reason) for note in reading.notes}
        assert any("long long" in row.fields["description"] for row in rows if isinstance(row, IncomingTask))


@pytest.mark.parametrize("name", ["todoist", "ticktick", "csv"])
@settings(max_examples=25, deadline=None)
@given(
    extra=st.dictionaries(NAMES, st.text("abcdefghij \n,;\"'", min_size=1, max_size=150).filter(str.strip), max_size=4),
    long=st.booleans(),
)
def test_every_further_cell_of_a_table_is_noted(name: str, extra: dict[str, str], long: bool) -> None:
    rows_ = list(csv.reader(io.StringIO(SAMPLES[name].removeprefix("\ufeff"), newline="")))
    title = TITLE_OF[name]
    head = next(number for number, row in enumerate(rows_) if title in row)
    header, first = rows_[head], rows_[head + 1]
    header += extra
    first += extra.values()
    if long:
        first[header.index(title)] = "long " * 100
    content = io.StringIO(newline="")
    csv.writer(content).writerows(rows_)

    found, reading = read(content.getvalue().encode())

    noted = {note.field: note for note in reading.notes}
    for key, value in extra.items():
        field = key.upper() if name == "todoist" else key
        assert (noted[field].count, noted[field].reason) == (1, "left_out")
        assert noted[field].example.rstrip("…")[:50] == value.replace("\n", " ")[:50]
    if long:
        assert noted[title].reason == "moved"
        assert any("long long" in row.fields["description"] for row in found if isinstance(row, IncomingTask))


LONG: dict[str, tuple[str, Any]] = {
    "title": ("title", "word " * 100),
    "description": ("description", "<p>" + "word " * 20_000 + "</p>"),
    "labels": ("labels", [{"title": "l" * 80}]),
    "many labels": ("labels", [{"title": f"label {number}"} for number in range(30)]),
    "reminders": ("reminders", [f"2099-01-{day:02}T09:00:00Z" for day in range(1, 16)]),
    "priority": ("priority", 77),
    "due_date": ("due_date", "9" * 200),
    "a large field": ("x_large", "a" * 200_000),
}


@pytest.mark.parametrize("name", LONG)
def test_every_value_that_does_not_fit_is_noted(api: Api, name: str) -> None:
    field, value = LONG[name]
    sample = copy.deepcopy(SAMPLES["vikunja"])
    sample[0]["tasks"][0][field] = value
    reasons = {reason for noted, reason in notes_of(answered(api, sample)) if noted == f"task.{field}"}
    assert reasons & {"cut", "moved", "not_understood", "left_out"}


def test_a_large_member_of_a_container_is_noted(api: Api) -> None:
    sample = copy.deepcopy(SAMPLES["trello"])
    sample["x_log"] = [{"text": "a" * 1000, "number": number} for number in range(2000)]
    (note,) = [note for note in answered(api, sample)["notes"] if note["field"] == "board.x_log"]
    assert (note["count"], note["reason"]) == (1, "left_out")
    assert note["example"].startswith('[{"text": "aaa')


def test_a_limited_number_of_notes_counts_all_values() -> None:
    sample = copy.deepcopy(SAMPLES["vikunja"])
    sample[0]["tasks"][0].update({f"x_{number}": 1 for number in range(MAX_NOTES + 50)})
    _, usual = read(encoded(SAMPLES["vikunja"]))
    _, reading = read(encoded(sample))
    assert OTHERS in {note.field for note in reading.notes}
    assert len(reading.notes) < MAX_NOTES + 10
    assert sum(note.count for note in reading.notes) == sum(note.count for note in usual.notes) + MAX_NOTES + 50


def test_what_tasks_refer_to_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MAX_HELD", 100)
    with pytest.raises(BodyTooLarge):
        read(encoded(SAMPLES["trello"]))


ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, -1e308, 10**40, 10**400, "", "x", "\0", "9" * 3000, "2099-01-31", "-PT1M", "-PT" + "9" * 300),
    *([], [None], [1], ["x"], [[]], [{}], {}, {"title": []}, {"id": {}, "text": 1}, [{"reminder": {}}], [{"name": ["x"]}]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", TASK_OF)
def test_any_value_of_any_field_is_read_and_noted(name: str) -> None:
    for field in TASK_OF[name](SAMPLES[name]):
        for value in ODD:
            sample = copy.deepcopy(SAMPLES[name])
            TASK_OF[name](sample)[field] = value
            rows, _ = read(encoded(sample))
            assert not [row for row in rows if not isinstance(row, IncomingTask | IncomingCategory)], (field, value)


@pytest.mark.parametrize("name", ["todoist", "ticktick", "csv"])
def test_any_text_in_any_cell_is_read(name: str) -> None:
    rows_ = list(csv.reader(io.StringIO(SAMPLES[name].removeprefix("\ufeff"), newline="")))
    head = next(number for number, row in enumerate(rows_) if TITLE_OF[name] in row)
    for place in range(len(rows_[head])):
        for value in (value for value in ODD if isinstance(value, str) and value not in ("", "\0")):
            changed = copy.deepcopy(rows_)
            changed[head + 1][place] = value
            content = io.StringIO(newline="")
            csv.writer(content).writerows(changed)
            found, _ = read(content.getvalue().encode())
            assert not [row for row in found if not isinstance(row, IncomingTask | IncomingCategory)], (place, value)


@pytest.mark.parametrize("name", sorted(TASK_OF.keys() - {"super_productivity"}))
def test_tasks_without_an_id_are_told_apart(api: Api, name: str) -> None:
    sample = copy.deepcopy(SAMPLES[name])
    tasks = sample["cards"] if name == "trello" else (sample if isinstance(sample, list) else sample["items"])[0]
    tasks = tasks if isinstance(tasks, list) else tasks.get("tasks") or tasks["items"]
    title = TITLE_OF.get(name, "title")
    first = {key: value for key, value in tasks[0].items() if key != "id"}
    tasks[:] = [first, {**first, title: "Bread"}]
    assert answered(api, sample)["tasks"]["created"] == 2
    assert answered(api, sample)["tasks"]["unchanged"] == 2
