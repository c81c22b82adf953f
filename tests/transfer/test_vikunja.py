"""Vikunja's data export: projects with their tasks, whose descriptions are HTML."""

import io
import json
import random
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cast import Api, bob, faults, log_of
from duely.core.clock import now
from duely.core.errors import MalformedRequest, Refused
from duely.tasks.actions import mark_overdue
from duely.tasks.models import Category, Task
from duely.transfer.files import opened
from duely.transfer.formats.document import MAX_VALUE
from duely.transfer.formats.markup import text_of_html
from duely.transfer.formats.vikunja import NEVER
from duely.transfer.reading import Reading
from duely.transfer.rules import Faulty
from transfer.helpers import bring, made

LONG = MAX_VALUE // 4


def task(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A task as Vikunja writes it."""
    return {
        "id": number,
        "title": f"Task {number}",
        "description": "",
        "done": False,
        "done_at": NEVER,
        "due_date": NEVER,
        "reminders": None,
        "project_id": 7,
        "repeat_after": 0,
        "repeat_mode": 0,
        "priority": 0,
        "start_date": NEVER,
        "end_date": NEVER,
        "assignees": None,
        "labels": None,
        "hex_color": "",
        "percent_done": 0,
        "identifier": f"WORK-{number}",
        "index": number,
        "related_tasks": {},
        "attachments": None,
        "is_favorite": False,
        "created": "2024-01-31T09:00:00Z",
        "updated": "2024-02-01T09:00:00Z",
        "bucket_id": 0,
        "position": 65536.5,
        "created_by": {"id": 1, "name": "", "username": "alice"},
        "comments": None,
        **fields,
    }


def project(*tasks: Any, **fields: Any) -> dict[str, Any]:
    """A project as Vikunja writes it."""
    return {
        "id": 7,
        "title": "Work",
        "description": "<p>All of it</p>",
        "identifier": "WORK",
        "hex_color": "1973ff",
        "parent_project_id": 0,
        "owner": {"id": 1, "username": "alice"},
        "is_archived": False,
        "position": 65536.25,
        "created": "2024-01-01T09:00:00Z",
        "updated": "2024-01-01T09:00:00Z",
        "tasks": [*tasks],
        "buckets": [{"id": 1, "title": "Backlog", "tasks": [task(1)]}],
        "views": [{"id": 1, "title": "List", "filter": None}],
        **fields,
    }


def packed(data: bytes) -> bytes:
    """An archive as Vikunja makes it, with other files in it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("VERSION", "v0.24.6")
        archive.writestr("files/1", b"\x00\xff" * 100)
        archive.writestr("files/table.csv", b"title\nNot this\n")
        archive.writestr("data.json", data)
        archive.writestr("filters.json", "[]")
    return content.getvalue()


def answered(api: Api, *projects: Any, preview: bool = False, is_packed: bool = False) -> Any:
    """The answer to an export with these projects."""
    data = json.dumps(projects).encode()
    content, media = (packed(data), "application/zip") if is_packed else (data, "application/json")
    response = bring(api, content, media, preview=preview)
    assert response.status_code == 200, response.content
    assert response.json()["format"] == "vikunja"
    return response.json()


def refused(api: Api, *projects: Any) -> dict[str, str]:
    """The faults of an export, of which nothing is written."""
    response = bring(api, list(projects))
    assert response.status_code == 400, response.content
    assert not Task.objects.exists()
    assert not Category.objects.exists()
    return faults(response) if response.json()["code"] == "validation_failed" else {"": response.json()["code"]}


def one(api: Api, **fields: Any) -> dict[str, Any]:
    """The task that a task with these fields becomes."""
    answered(api, project(task(1, **fields)))
    (found,) = made(api).values()
    return found


def rows(content: bytes) -> list[Any]:
    with opened(io.BytesIO(content), "UTC", now()) as source:
        return list(source.rows(Reading()))


@pytest.mark.parametrize("is_packed", [False, True])
def test_projects_become_categories_and_tasks(api: Api, is_packed: bool) -> None:
    full = task(
        2,
        title="Report",
        description="<p>Two <strong>bold</strong> words</p>",
        done=True,
        done_at="2024-03-01T10:00:00+01:00",
        due_date="2099-01-31T09:00:00Z",
        priority=4,
        labels=[{"id": 1, "title": "shop"}, {"id": 2, "title": "a, b", "hex_color": "ff0000"}],
        reminders=[{"reminder": "2099-01-30T09:00:00Z", "relative_period": -86400, "relative_to": "due_date"}],
        comments=[{"id": 1, "comment": "<p>First</p>", "author": {"id": 1}}, {"id": 2, "comment": "Second"}],
        repeat_after=86400,
        percent_done=0.5,
    )
    answer = answered(
        api, project(task(1), full), project(task(3), id=8, title="Home", hex_color=""), is_packed=is_packed
    )
    assert answer["tasks"]["created"] == 3
    assert answer["categories"]["created"] == 2
    moved = {(note["field"], note["example"]) for note in answer["notes"] if note["reason"] == "moved"}
    assert moved == {("task.repeat_after", "every 1 days"), ("task.percent_done", "50%")}
    tasks = made(api)
    assert {title: found["category"] for title, found in tasks.items()} == {
        "Task 1": "Work",
        "Report": "Work",
        "Task 3": "Home",
    }
    keys = ("description", "status", "completed_at", "due_date", "priority", "tags", "reminders")
    assert tuple(tasks["Report"][key] for key in keys) == (
        "Two **bold** words\n\nRepeats: every 1 days\n\nProgress: 50%\n\nFirst\n\nSecond",
        *("completed", "2024-03-01T09:00:00.000Z", "2099-01-31T09:00:00.000Z"),
        *("urgent", ["shop", "a b"], ["2099-01-30T09:00:00.000Z"]),
    )
    assert tuple(tasks["Task 1"][key] for key in keys) == ("", "pending", None, None, "medium", [], [])
    assert tasks["Task 1"]["created_at"] == "2024-01-31T09:00:00.000Z"
    assert tasks["Task 1"]["updated_at"] == "2024-02-01T09:00:00.000Z"
    colors = dict(Category.objects.values_list("name", "color"))
    assert colors["Work"] == "#1973ff"
    assert colors["Home"] != "#1973ff"


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_same_again_changes_nothing(api: Api, is_packed: bool) -> None:
    projects = [
        project(task(1), task(2, done=True), task(1, title="Other", created="2023-01-01T00:00:00Z")),
        project(id=8),
    ]
    seen = answered(api, *projects, preview=True, is_packed=is_packed)
    assert not Task.objects.exists()
    first = answered(api, *projects, is_packed=is_packed)
    assert (first["tasks"], first["categories"]) == (seen["tasks"], seen["categories"])
    assert first["tasks"]["created"] == 3
    log, tasks = log_of(api.user), made(api)
    again = answered(api, *projects, is_packed=is_packed)
    assert again["tasks"] == {"created": 0, "updated": 0, "unchanged": 3, "kept": 0}
    assert again["categories"]["created"] == again["categories"]["updated"] == 0
    assert (log_of(api.user), made(api)) == (log, tasks)
    assert answered(Api(bob()), *projects)["tasks"]["created"] == 3


def later(number: int, **fields: Any) -> dict[str, Any]:
    """The task a month later."""
    return task(number, **{"updated": "2024-03-01T09:00:00Z", **fields})


def test_a_task_that_nobody_changed_here_follows_a_newer_export(api: Api) -> None:
    answered(api, project(task(1, due_date="2020-01-01T00:00:00Z")))
    while mark_overdue(now=now()):
        pass  # the clock is nobody

    newer = later(1, title="New", done=True, done_at="2024-02-20T00:00:00Z", due_date="2020-01-01T00:00:00Z")
    assert answered(api, project(newer), preview=True)["tasks"]["updated"] == 1
    assert answered(api, project(newer))["tasks"]["updated"] == 1

    assert (made(api)["New"]["status"], made(api)["New"]["completed_at"]) == ("completed", "2024-02-20T00:00:00.000Z")
    action, changes = log_of(api.user)[-1]
    assert (action, changes["title"]) == ("task.status_changed", ["Task 1", "New"])
    assert answered(api, project(newer))["tasks"]["unchanged"] == 1
    newest = later(1, title="Newest", updated="2024-04-01T09:00:00Z")
    assert answered(api, project(newest))["tasks"]["updated"] == 1
    assert {*made(api)} == {"Newest"}


def test_an_older_export_changes_nothing(api: Api) -> None:
    answered(api, project(task(1)))
    answered(api, project(later(1, title="New")))
    assert answered(api, project(task(1)))["tasks"]["kept"] == 1
    assert answered(api, project(task(1, title="Other")))["tasks"]["kept"] == 1
    assert {*made(api)} == {"New"}


@pytest.mark.parametrize("how", ["edited", "deleted", "edited after an update"])
def test_a_task_that_was_changed_here_stays(api: Api, how: str) -> None:
    answer = answered(api, project(task(1)))
    if how == "edited after an update":
        answer = answered(api, project(later(1, title="New")))
    path = f"tasks/{answer['sample'][0]['id']}/"
    if how == "deleted":
        api.delete(path)
    else:
        api.patch(path, {"title": "Mine"})

    again = answered(api, project(later(1, title="Newest", updated="2030-01-01T00:00:00Z")))

    assert again["tasks"]["kept"] == 1
    assert {*made(api)} == {"Task 1" if how == "deleted" else "Mine"}


def test_tasks_without_an_id_are_told_apart(api: Api) -> None:
    milk, bread, wine = ({"title": title, "done": False} for title in ("Milk", "Bread", "Wine"))
    projects = [{"title": "Work", "tasks": [milk, bread]}, {"tasks": [wine]}]
    assert answered(api, *projects)["tasks"]["created"] == 3
    assert answered(api, *projects)["tasks"]["unchanged"] == 3
    assert {*made(api)} == {"Milk", "Bread", "Wine"}


@pytest.mark.parametrize(
    "number, priority",
    [
        (0, "medium"),
        (1, "low"),
        (2, "medium"),
        (3, "high"),
        (4, "urgent"),
        (5, "urgent"),
        (-1, "medium"),
        (10**30, "medium"),
    ],
)
def test_priorities(api: Api, number: int, priority: str) -> None:
    assert one(api, priority=number)["priority"] == priority


@pytest.mark.parametrize("text", [NEVER, "", None])
def test_dates_that_never_are(api: Api, text: str | None) -> None:
    found = one(api, due_date=text, done=True, done_at=text, updated=text, reminders=[text or "", {"reminder": text}])
    assert (found["due_date"], found["reminders"], found["status"]) == (None, [], "completed")
    assert found["completed_at"] is not None


def test_what_was_done_once_and_is_open_again_is_open(api: Api) -> None:
    found = one(api, done=False, done_at="2024-03-01T10:00:00Z")
    assert (found["status"], found["completed_at"]) == ("pending", None)


def test_reminders_are_objects_or_instants(api: Api) -> None:
    times = [f"2099-01-{day:02}T09:00:00Z" for day in range(1, 16)]
    found = one(api, reminders=[times[0], {"reminder": times[1]}, {"reminder": times[0]}, {"relative_to": "due_date"}])
    assert found["reminders"] == [f"2099-01-0{day}T09:00:00.000Z" for day in (1, 2)]
    answered(api, project(task(2, title="Many", reminders=times)))
    assert len(made(api)["Many"]["reminders"]) == 10


@pytest.mark.parametrize("fields", [{"title": ""}, {"title": " \x07\n"}])
def test_what_has_no_title_gets_one(api: Api, fields: dict[str, Any]) -> None:
    answered(api, project(task(1, **fields), **fields))
    assert Task.objects.get().title == "…"
    assert Category.objects.get().name == "…"


def test_projects_without_a_title_and_of_the_same_name_are_one_category(api: Api) -> None:
    nameless = {"tasks": [task(1)]}
    answered(api, nameless, project(task(2)), project(task(3), title="WORK"), {})
    assert [*Category.objects.order_by("name").values_list("name", flat=True)] == ["Work", "…"]
    assert {found["category"] for found in made(api).values()} == {"Work", "…"}


@pytest.mark.parametrize("title", [None, 7, {"a": 1}, ["x"], True])
def test_a_title_of_a_project_is_a_text(api: Api, title: Any) -> None:
    """Or is none: what Python makes of it is no name for a category."""
    response = bring(api, [project(task(1), title=title)])
    assert response.status_code == 200
    assert Category.objects.get().name == ("7" if title == 7 else "…")


@pytest.mark.parametrize(
    "color, expected",
    [
        ("1973FF", "#1973ff"),
        ("#1973ff", "#1973ff"),
        ("", None),
        ("red", None),
        ("12345g", None),
        ("１２３４５６", None),
        (None, None),
        ("1973ff80", None),
    ],
)
def test_colours(api: Api, color: Any, expected: str | None) -> None:
    plain = api.post("categories/", {"name": "Plain"}).json()["color"]
    answered(api, project(hex_color=color))
    assert Category.objects.get(name="Work").color == (expected or plain)


@pytest.mark.parametrize("tasks", [None, []])
def test_a_project_may_be_empty(api: Api, tasks: Any) -> None:
    answer = answered(api, project(tasks=None), {"title": "Other", "tasks": tasks})
    assert (answer["tasks"]["created"], answer["categories"]["created"]) == (0, 2)


def test_a_list_of_nothing_is_of_no_program(api: Api) -> None:
    assert refused(api) == {"": "unknown_format"}


def test_a_title_may_come_after_its_tasks(api: Api) -> None:
    answered(api, {"tasks": [task(1)], "title": "Late"}, {"tasks": [task(2)], "title": "Later"})
    assert {found["title"]: found["category"] for found in made(api).values()} == {"Task 1": "Late", "Task 2": "Later"}


def test_texts_that_do_not_fit_are_not_lost(api: Api) -> None:
    long = "word " * 100
    found = one(
        api,
        title=long,
        description="<p>more</p>",
        comments=[{"comment": "ä" * 40_000}],
        labels=[{"title": "l" * 80}, {"title": " "}, *({"title": f"label {number}"} for number in range(30))],
        updated=None,
    )
    assert (len(found["title"]), found["title"][-1]) == (255, "…")
    assert found["description"].startswith(f"{long.strip()}\n\nmore\n\nää")
    assert 64 * 1024 - 2 < len(found["description"].encode()) <= 64 * 1024
    assert (found["tags"][0], len(found["tags"])) == ("l" * 50, 20)


@pytest.mark.parametrize(
    "fields",
    [
        *({"title": ["x"]}, {"title": True}, {"description": ["x"]}, {"done": "yes"}, {"done": 1}, {"id": [1]}),
        *({"priority": "high"}, {"labels": {"a": 1}}, {"labels": ["x"]}, {"priority": 9}),
        *({"reminders": [1]}, {"reminders": "x"}, {"repeat_after": "never"}, {"reminder_dates": ["never"]}),
        *({"created": {"a": 1}}, {"created": "soon"}, {"updated": 5}),
    ],
)
def test_a_value_of_a_wrong_type_is_noted(api: Api, fields: dict[str, Any]) -> None:
    (name,) = fields
    answer = answered(api, project(task(1), task(2, **fields)))
    notes = [note for note in answer["notes"] if note["reason"] == "not_understood"]
    assert {note["field"].split(".")[1] for note in notes} == {name}
    assert {note["place"] for note in notes} == {"projects[0].tasks[1]"}
    assert answer["tasks"]["created"] == 2


@pytest.mark.parametrize("raw", [None, 1, "x", [], True, 1.5])
def test_what_is_no_task_is_a_fault_with_its_place(api: Api, raw: Any) -> None:
    assert refused(api, project(), project(raw, task(1), raw)) == {
        "projects[1].tasks[0]": "invalid_type",
        "projects[1].tasks[2]": "invalid_type",
    }


def test_dates_that_are_none_are_noted(api: Api) -> None:
    bad = task(1, due_date="soon", created="2024-13-01T00:00:00Z", updated="x", reminders=["never"])
    answer = answered(api, project(bad, task(2, done=True, done_at="1800-01-01T00:00:00Z")))
    assert {(note["field"], note["reason"]) for note in answer["notes"]} >= {
        ("task.due_date", "moved"),
        ("task.created", "not_understood"),
        ("task.updated", "not_understood"),
        ("task.reminders", "not_understood"),
        ("task.done_at", "not_understood"),
    }
    assert made(api)["Task 1"]["description"] == "Due: soon"


@pytest.mark.parametrize("raw", [None, 1, "x", [], {"tasks": {}}, {"tasks": "x"}, {"tasks": 1}, {"tasks": True}])
def test_what_is_no_project_is_refused(api: Api, raw: Any) -> None:
    assert refused(api, project(task(1)), raw) == {"": "malformed_request"}
    assert refused(api, raw) == {"": "unknown_format"}


def test_an_archive_with_a_broken_document_is_refused(api: Api) -> None:
    whole = json.dumps([project(task(1))]).encode()
    for data in (b"", b"{}", b"null", b"[", whole[:-5], whole + b"x", b"\xff", b'{"format":"x"}'):
        response = bring(api, packed(data), "application/zip")
        assert response.status_code == 400
        assert response.json()["code"] in {"malformed_request", "unknown_format", "validation_failed"}


# Descriptions


@pytest.mark.parametrize(
    "html, text",
    [
        ("", ""),
        ("plain  text\n\n\n with < and & and &amp;", "plain  text\n\n\n with < and & and &amp;"),
        ("vector<int> v; if a <b then c> d", "vector<int> v; if a <b then c> d"),
        ("1. first\n\n    code\n\nsee <https://example.org/x>", "1. first\n\n    code\n\nsee <https://example.org/x>"),
        ("<b then c> d", "<b then c> d"),
        ("<T> is a type", "<T> is a type"),
        ("<p></p>", ""),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<p>one<br>two<br/>three</p>", "one\ntwo\nthree"),
        ("<p>a &lt;b&gt; &amp;amp; &#39;c&#x27; &nbsp;d&euro;</p>", "a <b> &amp; 'c' \xa0d€"),
        ("<h1>Head</h1><h3>More</h3><p>body</p>", "# Head\n\n### More\n\nbody"),
        ("<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code> <u>e</u></p>", "**a** *b* ~~c~~ `d` e"),
        ("<ul><li>one</li><li>two</li></ul><p>end</p>", "- one\n- two\n\nend"),
        ("<ol><li><p>one</p></li><li><p>two</p><ul><li>in</li></ul></li></ol>", "1. one\n2. two\n  - in"),
        (
            "<ul><li><p>a</p><ul><li><p>b</p><ul><li>c</li></ul></li></ul></li><li>d</li></ul>",
            "- a\n  - b\n    - c\n- d",
        ),
        ("<ul><li><p>a</p><p>more</p></li></ul>", "- a\n  more"),
        (
            '<ul data-type="taskList"><li data-checked="true" data-type="taskItem">a</li><li data-checked="false">b</li></ul>',
            "- [x] a\n- [ ] b",
        ),
        (
            '<p>see <a href="https://example.org/?a=1&amp;b=2">this</a>!</p>',
            "see [this](https://example.org/?a=1&b=2)!",
        ),
        (
            '<p><img src="https://example.org/y.png" alt="A map"><img src="z.png"></p>',
            "![A map](https://example.org/y.png)![](z.png)",
        ),
        ('<a href="x">a <a href="y">b</a></a>', "[a [b](y)](x)"),
        ("<p>a</a> b</p>", "a b"),
        ("<a name='x'>b</a>", "b"),
        ("<p>1 < 2 > 1 <3</p>", "1 < 2 > 1 <3"),
        ("<P CLASS=x>a</P><BR>b", "a\n\nb"),
        ("<p>vector<int> <custom-tag>c</p>", "vector<int> <custom-tag>c"),
        ("<p>a<!-- no - comment -->b</p>", "ab"),
        ("<p>a <b", "a <b"),
        ("<p><<p>>x", "<\n\n>x"),
        ("<pre><code>a\n  b</code></pre>", "```\na\n  b\n```"),
        (
            '<p>Run:</p><pre><code class="language-py">def f(x):\n    if x &lt; 1:\n\n        <b>return</b> 2\n</code></pre><p>end</p>',
            "Run:\n\n```py\ndef f(x):\n    if x < 1:\n\n        return 2\n```\n\nend",
        ),
        ("<table><tr><th>a</th><td>b</td></tr><tr><td>c</td></tr></table>", "a | b |\n\nc |"),
        ("<p>&#0;&#xD800;&#1114112;&bogus;</p>", "\ufffd\ufffd\ufffd&bogus;"),
        ("<p>a\x00b</p>", "a\x00b"),
        ("<p>a<img src=x alt='y z'>b</p>", "a![y z](x)b"),
        ("<p>a<img data-src=x/y.png></p>", "a![](x/y.png)"),
        (
            "<p><a href='https://example.org/?a=\"b\"'>c</a> <A HREF=d>e</A></p>",
            '[c](https://example.org/?a="b") [e](d)',
        ),
        ('<p><img alt="a > b" src = "x">c</p>', "![a > b](x)c"),
        ('<p><a title="5" wide" href="x">y</a></p>', "[y](x)"),
        ("<ul><li data-checked='true'>a</li><li data-checked=false>b</li></ul>", "- [x] a\n- [ ] b"),
        ("<ul><li><input type=checkbox checked>a</li><li><input type='checkbox'>b</li></ul>", "- [x] a\n- [ ] b"),
        ("<ol start=3><li>a</li><li>b</li></ol><ol start='x'><li>c</li></ol>", "3. a\n4. b\n\n1. c"),
        ("<p>a<!-- <b>no</b> -- comment -->b</p>", "ab"),
        ("<!-- first --><p>a</p>", "a"),
        ("<!-- first -->**a**", "<!-- first -->**a**"),
        ("<p>a <!-- b</p>", "a <!-- b"),
        ("<!DOCTYPE html>\n<html><head><style>p {}</style></head><body>a</body></html>", "a"),
        ("<p>a</p><style>b <i>c</i>", "a\n\nb <i>c</i>"),
        ('<p>Hi <mention-user data-id="bob" data-label="Bob B"></mention-user>!</p>', "Hi @Bob B!"),
        ("<p>Hi <mention-user data-id=bob>@bob</mention-user>!</p>", "Hi @bob!"),
        ("<p><mention-user data-id='bob'/> and <span class='mention' data-id='al'></span></p>", "@bob and @al"),
        ('<p><span data-type="mention" data-id="7">@Al</span> <span>x</span></p>', "@Al x"),
        ('<p><a href="x">a', "[a](x)"),
    ],
)
def test_what_stands_for_html(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    "html, reason, example",
    [
        ("<p>a<!-- remark --></p>", "left_out", "remark"),
        ("<p>a</p><style>p { color: red }</style>", "left_out", "p { color: red }"),
        ("<p>a</p><script>run()</script>", "left_out", "run()"),
        ('<p style="color: red">a</p>', "changed", '<p style="color: red">'),
        ("<p><img src=x title='A map'></p>", "changed", '<img title="A map">'),
        ("<ul><li data-checked=maybe>a</li></ul>", "not_understood", '<li data-checked="maybe">'),
        ("<p><mention-user data-id=bob>@Bob</mention-user></p>", "changed", "@bob"),
    ],
)
def test_what_html_loses_is_noted(api: Api, html: str, reason: str, example: str) -> None:
    answer = bring(api, [project(task(1, description=html, comments=[{"comment": html}]))]).json()
    for field in ("task.description", "task.comments.comment"):
        (note,) = [note for note in answer["notes"] if note["field"] == field]
        assert (note["reason"], note["count"], note["example"].strip()) == (reason, 1, example)


def test_a_list_whose_items_are_paragraphs_is_a_list() -> None:
    """As Vikunja's editor writes every list: the sign and the text belong on one line."""
    plain = "<ul><li><p>one</p></li><li><p>two</p><ul><li><p>inner</p></li></ul></li></ul><p>end</p>"
    assert shown(plain) == ["- one", "- two", "  - inner", "end"]
    box = '<label><input type="checkbox"><span></span></label>'
    ticked = f'<li data-checked="true" data-type="taskItem">{box}<div><p>a</p></div></li>'
    open_one = f'<li data-checked="false" data-type="taskItem">{box}<div><p>b</p><p>more</p></div></li>'
    assert shown(f'<ul data-type="taskList">{ticked}{open_one}</ul>') == ["- [x] a", "- [ ] b", "  more"]


def shown(html: str) -> list[str]:
    """The lines of its text that are not blank."""
    return [line for line in text_of_html(html).split("\n") if line]


@pytest.mark.slow
@pytest.mark.timeout(30, method="signal")
@pytest.mark.parametrize(
    "html",
    [
        *("<", "<a", "<p>", "</", "<a ", "<a href=\"", "&", "&amp", "&#", "<p", ">", "< ", "<br>\n", "<a href='x'>", "</a>"),
        *("<!--", "<!-- x -->", "<!-- x --", "<style>", "<a b='>", '<a b=c ', "<mention-user data-id=a>", "<a b='\"' "),
        *('<a href="', '<li data-checked="', '<p>&lt;', "\n", "<li>", "a<", "<a/"),
    ],
)  # fmt: skip
def test_a_long_description_is_read_at_once(html: str) -> None:
    """What ends it is the time limit of the test: anything that grows with the square takes many minutes."""
    text_of_html(html * (LONG // len(html)))
    text_of_html("<p>" + html * (LONG // len(html)))


@pytest.mark.timeout(30, method="signal")
@pytest.mark.parametrize("start", ["<", "</", "<p>&", "<p>&#x", "<p>&amp;<", "<p><a ", '<p><a href="', "<p>"])
@pytest.mark.parametrize("sign", ["a", "1", " ", '"', "/", "="])
def test_a_tag_or_a_sign_without_an_end_is_read_at_once(start: str, sign: str) -> None:
    text_of_html(start + sign * LONG)
    text_of_html(start + sign * LONG + ">")


def test_a_megabyte_of_brackets_is_a_megabyte_of_brackets() -> None:
    assert text_of_html("<" * MAX_VALUE) == "<" * MAX_VALUE
    assert text_of_html("<br>" + "<" * MAX_VALUE) == "<" * MAX_VALUE


@pytest.mark.parametrize("number", ["9" * 5000, "0" * 5000 + "65", "x" + "f" * 5000, "1" * 4300])
def test_signs_by_numbers_that_are_too_long_are_no_harm(api: Api, number: str) -> None:
    found = one(api, description=f"<p>a&#{number};b</p>")
    assert (found["description"][0], found["description"][-1]) == ("a", "b")


HTML = st.lists(
    st.text(max_size=5)
    | st.sampled_from(["<p>", "</p>", "<", ">", "</a>", '<a href="x', '">', "<li>", "&", "&#", "x41;", "<br/>", "&lt", ";", "\n"]),
    max_size=20,
).map("".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(HTML)
def test_no_html_does_harm(html: str) -> None:
    text = text_of_html(html)
    assert len(text) <= 6 * len(html) + 10
    (category, found) = sorted(
        rows(json.dumps([project(task(1, description=html))]).encode()),
        key=lambda row: row.key if hasattr(row, "key") else "~",
    )
    assert category.fields["name"] == "Work"
    assert not isinstance(found, Faulty)


def test_any_values_are_read_or_refused() -> None:
    """Every field with every kind of value."""
    values: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        1e300,
        10**40,
        "",
        "x",
        "\0",
        [],
        [None],
        [1],
        {},
        {"title": "x"},
        [[]],
        [{}],
    ]
    outcomes = set()
    for name in (*task(), "other"):
        for value in values:
            found, category = rows(json.dumps([project(task(1, **{name: value}))]).encode())
            assert category.fields["name"] == "Work"
            outcomes.add(isinstance(found, Faulty))
    assert outcomes == {False}
    for name in (*project(), "other"):
        for value in values:
            try:
                rows(json.dumps([project(**{name: value})]).encode())
            except MalformedRequest:
                assert name == "tasks"


def test_a_broken_export_is_read_or_refused() -> None:
    whole = json.dumps([project(task(1, description="<p>a</p>", labels=[{"title": "x"}]), task(2))]).encode()
    chance = random.Random(1)
    outcomes = set()
    for _ in range(800):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            if chance.randrange(3):
                content[place] = (
                    chance.choice(b'[]{}",:\\0123456789.eE-ntf <>&') if chance.randrange(4) else chance.randrange(256)
                )
            else:
                del content[place : place + chance.randint(1, 12)]
        try:
            outcomes.add("faults" if any(isinstance(row, Faulty) for row in rows(bytes(content))) else "rows")
        except Refused as refusal:
            outcomes.add(refusal.code)
    assert outcomes >= {"rows", "malformed_request"}
