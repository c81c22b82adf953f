"""Every value of a file is in a task, in a category, in the notes, or in a refusal: whatever stands in which field."""

import copy
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cast import Api
from duely.core.clock import now
from duely.core.errors import Refused
from duely.transfer.files import opened
from duely.transfer.reading import Reading
from duely.transfer.rules import Faulty
from transfer.helpers import bring
from transfer.samples import SAMPLES, TASK_OF, TITLE_OF, encoded

Path = tuple[Any, ...]
MARK = "zq17x"
NUMBER = 917263514
TABLES = tuple(name for name, sample in SAMPLES.items() if isinstance(sample, str))
DOCUMENTS = tuple(name for name in SAMPLES if name not in TABLES)
STRANGE: dict[str, Any] = {
    "a text": MARK,
    "a list": [MARK],
    "an object": {MARK: MARK},
    "a number": NUMBER,
    "a boolean": True,
    "a long text": f"{MARK} " * 5000,
    "a list in a list": [[MARK]],
    "a list of objects": [{MARK: MARK}],
}


def account(content: bytes) -> tuple[str, dict[tuple[str, str], int]]:
    """All that a file became, as one text, and the counts of its notes. Of a refused file: the refusal."""
    reading = Reading()
    try:
        with opened(io.BytesIO(content), "UTC", now()) as source:
            rows = list(source.rows(reading))
    except Refused as refused:
        if refused.status >= 500:
            raise
        return f"refused: {refused.detail}", {}
    faults = [row for row in rows if isinstance(row, Faulty)]
    if faults:
        return f"refused: {faults}", {}
    examples = [note.example for note in reading.notes]
    return "\n".join([*map(str, rows), *examples]), {(note.field, note.reason): note.count for note in reading.notes}


def sample_of(name: str) -> Any:
    """An export in which no record is left out as a whole."""
    sample = copy.deepcopy(SAMPLES[name])
    if name == "google_tasks":
        sample["items"][0]["items"] = [task for task in sample["items"][0]["items"] if not task.get("deleted")]
    return sample


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The ways to all values in a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def changed(sample: Any, path: Path, value: Any) -> Any:
    """A sample with another value in one place."""
    sample = copy.deepcopy(sample)
    holder = sample
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return sample


def is_accounted(before: dict[tuple[str, str], int], text: str, counts: dict[tuple[str, str], int], path: Path) -> bool:
    """Whether a strange value is in the result, or its field has a note that counts it."""
    names = [key for key in path if isinstance(key, str)]
    noted = [
        field
        for (field, reason), count in counts.items()
        if reason in ("internal", "not_understood") or count > before.get((field, reason), 0)
    ]
    return (
        text.startswith("refused: ")
        or any(sign in text for sign in (MARK, str(NUMBER)))
        or any(field.rpartition(".")[2] in names for field in noted)
    )


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_strange_value_of_a_document_is_accounted_for(name: str, kind: str) -> None:
    value, sample = STRANGE[kind], sample_of(name)
    _, before = account(encoded(sample))
    lost = []
    for path in places(sample):
        old = sample
        for key in path:
            old = old[key]
        is_usual = type(old) is type(value) and not isinstance(old, str)
        if is_usual or (path[-1] == "state" and value is True):  # which is read as "complete"
            continue
        text, counts = account(encoded(changed(sample, path, value)))
        if not is_accounted(before, text, counts, path):
            lost.append(path)
    assert not lost


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", TASK_OF)
def test_a_strange_value_is_no_fault_of_the_server(api: Api, name: str, kind: str) -> None:
    """Also where it comes into the database."""
    for field in TASK_OF[name](SAMPLES[name]):
        sample = copy.deepcopy(SAMPLES[name])
        TASK_OF[name](sample)[field] = STRANGE[kind]
        assert bring(api, encoded(sample)).status_code in (200, 400), field


def rows_of(name: str) -> tuple[list[list[str]], int]:
    """The rows of a table, and the number of its header."""
    rows = list(csv.reader(io.StringIO(SAMPLES[name].removeprefix("\ufeff"), newline="")))
    return rows, next(number for number, row in enumerate(rows) if TITLE_OF[name] in row)


def written(rows: list[list[str]]) -> bytes:
    content = io.StringIO(newline="")
    csv.writer(content).writerows(rows)
    return content.getvalue().encode()


@pytest.mark.parametrize("value", [MARK, str(NUMBER), f"{MARK} " * 500])
@pytest.mark.parametrize("name", TABLES)
def test_a_strange_value_of_a_table_is_accounted_for(name: str, value: str) -> None:
    rows, head = rows_of(name)
    _, before = account(written(rows))
    lost = []
    for number in range(head + 1, len(rows)):
        for place, column in enumerate(rows[head]):
            text, counts = account(written(changed(rows, (number, place), value)))
            if not is_accounted(before, text, counts, (column,)):
                lost.append((number, column))
    assert not lost


# References to records that are not in the file


def a_small_file(name: str, keep: Callable[[str], bool]) -> bytes:
    """An export in which all texts are marks, without the records that `keep` refuses."""
    records = RECORDS[name]
    kept = [record for key, record in records.items() if keep(key)]
    if name in TABLES:
        rows, head = rows_of(name)
        columns = rows[head]
        return written([*rows[: head + 1], *([record.get(column, "") for column in columns] for record in kept)])
    document = copy.deepcopy(EMPTY[name])
    for (holder, key), record in ((PLACES[name][key], record) for key, record in records.items() if keep(key)):
        target = document
        for step in holder:
            target = target[step]
        if isinstance(target, list):
            target.append(record)
        else:
            target[key] = record
    return encoded(document)


CARD = "5f0c1a2b0000000000000001"
IDS = {"list": "11111111-0000-7000-8000-000000000001", "task": "11111111-0000-7000-8000-000000000002"}
EMPTY: dict[str, Any] = {
    "duely": {"format": "duely", "version": 1, "categories": [], "tasks": []},
    "vikunja": [{"title": "Project", "is_archived": False, "tasks": []}],
    "trello": {"name": "Board", "actions": [], "cards": [], "labels": [], "lists": [], "checklists": []},
    "google_tasks": {"kind": "tasks#taskLists", "items": [{"title": "List", "updated": "", "items": []}]},
    "microsoft_todo": [{"displayName": "List", "tasks": []}],
    "super_productivity": {
        "data": {name: {"entities": {}} for name in ("task", "project", "tag", "taskRepeatCfg")}
        | {"archiveYoung": {"task": {"entities": {}}}}
    },
}
RECORDS: dict[str, dict[str, dict[str, Any]]] = {
    "duely": {
        "category": {"id": IDS["list"], "name": "mark-category"},
        "task": {"id": IDS["task"], "title": "mark-task", "category": IDS["list"]},
    },
    "todoist": {
        "comment of nothing": {"TYPE": "note", "CONTENT": "mark-first"},
        "section": {"TYPE": "section", "CONTENT": "mark-section"},
        "task": {"TYPE": "task", "CONTENT": "mark-task", "INDENT": "1"},
        "comment": {"TYPE": "note", "CONTENT": "mark-comment"},
        "subtask": {"TYPE": "task", "CONTENT": "mark-subtask", "INDENT": "2"},
        "unknown": {"TYPE": "milestone", "CONTENT": "mark-milestone"},
        "its comment": {"TYPE": "note", "CONTENT": "mark-its-comment"},
        "last section": {"TYPE": "section", "CONTENT": "mark-last"},
    },
    "vikunja": {
        "task": {"id": 1, "title": "mark-task", "done": False, "bucket_id": 9},
        "subtask": {
            "id": 2,
            "title": "mark-subtask",
            "done": False,
            "comments": [{"comment": "mark-comment"}],
            "related_tasks": {"parenttask": [{"id": 1, "title": "mark-task"}]},
        },
        "sibling": {
            "id": 3,
            "title": "mark-sibling",
            "done": False,
            "project_id": 77,
            "labels": [{"title": "mark-label"}],
        },
    },
    "ticktick": {
        "task": {"Title": "mark-task", "List Name": "mark-list", "taskId": "t1"},
        "subtask": {"Title": "mark-subtask", "Folder Name": "mark-folder", "taskId": "t2", "parentId": "t1"},
        "another": {"Title": "mark-another", "Column Name": "mark-column", "parentId": "t2"},
    },
    "trello": {
        "list": {"id": "l1", "name": "mark-list"},
        "label": {"id": "g1", "name": "mark-label"},
        "card": {"id": CARD, "name": "mark-card", "idList": "l1", "idLabels": ["g1"], "labels": []},
        "another": {"id": "c2", "name": "mark-another", "idList": "l1", "labels": [{"id": "g1", "name": "mark-label"}]},
        "comment": {"type": "commentCard", "data": {"text": "mark-comment", "card": {"id": CARD}}},
        "copied comment": {"type": "copyCommentCard", "data": {"text": "mark-copied", "card": {"id": "c2"}}},
        "check list": {"id": "k", "idCard": CARD, "name": "mark-check-list", "checkItems": [{"name": "mark-item"}]},
        "unknown": {"type": "voteOnCard", "data": {"text": "mark-vote", "card": {"id": CARD}}},
        "comment without a card": {"type": "commentCard", "data": {"text": "mark-free"}},
    },
    "google_tasks": {
        "task": {"id": "t1", "title": "mark-task"},
        "subtask": {"id": "t2", "title": "mark-subtask", "parent": "t1"},
        "deleted": {"id": "t3", "title": "mark-deleted", "deleted": True},
        "of the deleted": {"id": "t4", "title": "mark-orphan", "parent": "t3"},
    },
    "microsoft_todo": {
        "task": {
            "id": "t1",
            "title": "mark-task",
            "checklistItems": [{"displayName": "mark-item", "isChecked": False}],
        },
        "another": {"id": "t2", "title": "mark-another", "linkedResources": [{"displayName": "mark-link"}]},
    },
    "super_productivity": {
        "project": {"id": "p1", "title": "mark-project"},
        "tag": {"id": "g1", "title": "mark-tag"},
        "rule": {"id": "r1", "repeatEvery": 4321, "repeatCycle": "mark-cycle"},
        "task": {"id": "t1", "title": "mark-task", "projectId": "p1", "tagIds": ["g1"], "repeatCfgId": "r1"},
        "subtask": {"id": "t2", "title": "mark-subtask", "parentId": "t1"},
        "archived": {"id": "t3", "title": "mark-archived", "parentId": "t2", "projectId": "p1"},
    },
    "csv": {
        "task": {"Title": "mark-task", "List": "mark-list"},
        "another": {"Title": "mark-another", "Notes": "mark-notes"},
    },
}
"""Records that refer to each other. Whichever of them are missing, all the marks of the others are accounted for."""


def _paths(name: str) -> dict[str, tuple[Path, str]]:
    """Where each record of a document stands: the holder, and its key there."""
    holders: dict[str, Path] = {
        "category": ("categories",),
        "list": ("lists",),
        "label": ("labels",),
        "check list": ("checklists",),
        "card": ("cards",),
        "project": ("data", "project", "entities"),
        "tag": ("data", "tag", "entities"),
        "rule": ("data", "taskRepeatCfg", "entities"),
        "archived": ("data", "archiveYoung", "task", "entities"),
    }
    others: dict[str, Path] = {
        "duely": ("tasks",),
        "vikunja": (0, "tasks"),
        "google_tasks": ("items", 0, "items"),
        "microsoft_todo": (0, "tasks"),
        "super_productivity": ("data", "task", "entities"),
        "trello": ("actions",),
    }
    return {
        key: (
            ("cards",) if (name, key) == ("trello", "another") else holders.get(key, others[name]),
            str(record.get("id", "")),
        )
        for key, record in RECORDS[name].items()
    }


PLACES = {name: _paths(name) for name in DOCUMENTS}


def marks_of(value: Any) -> set[str]:
    """The texts in a record that must not get lost."""
    return set(re.findall(r"mark-[a-z-]+", json.dumps(value)))


def test_each_format_has_records_that_refer_to_each_other() -> None:
    assert RECORDS.keys() == SAMPLES.keys()


@pytest.mark.parametrize("name", RECORDS)
def test_whatever_refers_to_a_missing_record_is_accounted_for(name: str) -> None:
    keys = [*RECORDS[name]]
    for number in range(2 ** len(keys)):
        kept = {key for place, key in enumerate(keys) if number >> place & 1}
        text, counts = account(a_small_file(name, kept.__contains__))
        lost = {mark for key in kept for mark in marks_of(RECORDS[name][key]) if mark not in text}
        # A note has one example, and counts the others.
        others = sum(
            count - 1 for (_, reason), count in counts.items() if reason in ("unresolved", "unused", "left_out")
        )
        assert text.startswith("refused: ") or len(lost) <= others, (kept, lost)


def notes_on(name: str, *left_out: str) -> dict[tuple[str, str], int]:
    """The notes on a file without some of its records."""
    return account(a_small_file(name, lambda key: key not in left_out))[1]


UNRESOLVED: list[tuple[str, str, str]] = [
    ("todoist", "task", "INDENT"),
    ("ticktick", "task", "parentId"),
    ("trello", "list", "card.idList"),
    ("trello", "label", "card.idLabels"),
    ("trello", "card", "checklist.checkItems"),
    ("trello", "card", "action.data.text"),
    ("google_tasks", "task", "task.parent"),
    ("super_productivity", "project", "task.projectId"),
    ("super_productivity", "tag", "task.tagIds"),
    ("super_productivity", "rule", "task.repeatCfgId"),
    ("super_productivity", "task", "task.parentId"),
]


@pytest.mark.parametrize("name, left_out, field", UNRESOLVED)
def test_a_reference_to_a_missing_record_is_noted_as_such(name: str, left_out: str, field: str) -> None:
    assert notes_on(name, left_out).get((field, "unresolved"), 0) > notes_on(name).get((field, "unresolved"), 0)


@pytest.mark.parametrize(
    "name, left_out, field",
    [
        ("todoist", ("task", "subtask"), "CONTENT"),
        ("trello", ("card", "another"), "list.name"),
        ("trello", ("card", "another"), "label.name"),
        ("super_productivity", ("task", "archived"), "project.title"),
        ("super_productivity", ("task",), "tag.title"),
        ("super_productivity", ("task",), "taskRepeatCfg"),
    ],
)
def test_a_name_that_no_task_has_is_noted(name: str, left_out: tuple[str, ...], field: str) -> None:
    assert notes_on(name, *left_out)[field, "unused"] > notes_on(name).get((field, "unused"), 0)


def test_duely_refuses_a_task_of_a_missing_category(api: Api) -> None:
    response = bring(api, a_small_file("duely", "task".__eq__))
    assert [fault["field"] for fault in response.json()["errors"]] == ["tasks[0].category"]
