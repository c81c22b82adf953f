"""Todoist's projects: templates as CSV, and backups with a file for each project."""

import io
import random
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from cast import Api, bob, log_of
from duely.core.clock import now
from duely.core.errors import Refused
from duely.tasks.models import Category, Task
from duely.transfer.files import opened
from duely.transfer.formats import todoist
from duely.transfer.reading import Reading
from transfer.helpers import bring, made, notes_of

HEADER = "TYPE,CONTENT,DESCRIPTION,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,TIMEZONE,DURATION,DURATION_UNIT"
TEMPLATE = (
    f"{HEADER}\n"
    "meta,view_style=list,,,,,,,,,,\n"
    "task,Call mum @phone @family,Her birthday,1,1,Alice (1),,2099-01-31,en,Europe/Berlin,,\n"
    ",,,,,,,,,,,\n"
    "note,Number is 123,,,,Alice (1),,,,,,\n"
    'note,"Second, with\ntwo lines",,,,Alice (1),,,,,,\n'
    "section,Errands,,,,,,,,,,\n"
    "task,Buy milk @shop,,4,1,Alice (1),,Jan 31 2099 9:00,en,Europe/Berlin,,\n"
    "task,Oat milk,,4,2,Alice (1),,,,,,\n"
    "task,Water the plants,,3,1,Alice (1),,every monday,en,Europe/Berlin,,\n"
    "section,Later,,,,,,,,,,\n"
    "task,Ask bob@example.org,,2,1,Alice (1),,in drei Tagen,de,,,\n"
)


def packed(projects: dict[str, str | bytes]) -> bytes:
    """A backup with these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in projects.items():
            archive.writestr(name, text)
    return content.getvalue()


def answered(api: Api, content: str | bytes | dict[str, str | bytes], *, preview: bool = False) -> Any:
    """The answer to a project, or to a backup of several."""
    media = "application/zip" if isinstance(content, dict) else "text/csv"
    whole = packed(content) if isinstance(content, dict) else content
    response = bring(api, whole, media, preview=preview)
    assert response.status_code == 200, response.content
    assert response.json()["format"] == "todoist"
    return response.json()


def project(*rows: str) -> str:
    """A project of these rows, with the first columns alone."""
    return "\n".join(("TYPE,CONTENT,PRIORITY,DATE,TIMEZONE,INDENT", *rows)) + "\n"


def rows(content: bytes, at: datetime | None = None) -> list[Any]:
    with opened(io.BytesIO(content), "UTC", at or now()) as source:
        return list(source.rows(Reading()))


def test_a_template_becomes_tasks(api: Api) -> None:
    answer = answered(api, TEMPLATE)
    assert answer["tasks"] == {"created": 5, "updated": 0, "unchanged": 0, "kept": 0}
    assert answer["categories"] == {"created": 0, "updated": 0, "unchanged": 0, "kept": 0}
    assert notes_of(answer) == {
        ("CONTENT", "internal"): 1,
        ("DATE_LANG", "internal"): 1,
        ("AUTHOR", "left_out"): 7,
        ("DATE", "moved"): 2,
        ("INDENT", "moved"): 1,
    }
    assert [note["example"] for note in answer["notes"] if note["field"] == "DATE"] == ["every monday"]
    tasks = made(api)
    keys = ("description", "priority", "due_date", "tags", "status", "category")
    assert {title: tuple(task[key] for key in keys) for title, task in tasks.items()} == {
        "Call mum": (
            "Her birthday\n\nNumber is 123\n\nSecond, with\ntwo lines",
            *("urgent", "2099-01-31", ["phone", "family"], "pending", None),
        ),
        "Buy milk": ("", "low", "2099-01-31T08:00:00.000Z", ["shop", "Errands"], "pending", None),
        "Oat milk": ("Part of: Buy milk", "low", None, ["Errands"], "pending", None),
        "Water the plants": ("Due: every monday", "medium", None, ["Errands"], "pending", None),
        "Ask bob@example.org": ("Due: in drei Tagen", "high", None, ["Later"], "pending", None),
    }


def test_a_backup_becomes_tasks_in_categories(api: Api) -> None:
    backup: dict[str, str | bytes] = {
        "Work [123].csv": project("task,Report,1,,", "section,Soon,,,", "task,Plan,,,"),
        "Home [4].csv": "\ufeff" + project("task,Milk @shop,4,2099-01-31,"),
        "Empty [5].csv": project(),
        "[Odd] name.csv": project("task,Odd,,,"),
        "folder/Deep [6].csv": project("task,Deep,,,").replace("\n", "\r\n"),
    }
    answer = answered(api, backup)
    assert answer["tasks"]["created"] == answer["categories"]["created"] == 5
    assert {title: (task["category"], task["tags"]) for title, task in made(api).items()} == {
        "Report": ("Work", []),
        "Plan": ("Work", ["Soon"]),
        "Milk": ("Home", ["shop"]),
        "Odd": ("[Odd] name", []),
        "Deep": ("Deep", []),
    }
    assert {*Category.objects.values_list("name", flat=True)} == {"Work", "Home", "Empty", "[Odd] name", "Deep"}


@pytest.mark.parametrize(
    "member, name",
    [
        *(("Work [123].csv", "Work"), ("Work.csv", "Work"), ("a/b/Work [1].csv", "Work"), ("W [x] [1].csv", "W [x]")),
        *(("Work [1] more.csv", "Work [1] more"), ("[1].csv", ""), (".csv", ""), ("a.csv.csv", "a.csv")),
        *(("flat [6Crg8jQ886Wh4P5g].csv", "flat"), ("Notes [draft].csv", "Notes [draft]")),
        *(
            ("Notes [abcdefghijklmnop].csv", "Notes [abcdefghijklmnop]"),
            ("A [6Crg8jQ886Wh4P5].csv", "A [6Crg8jQ886Wh4P5]"),
        ),
        *(("Work [123].CSV", "Work"), ("Inbox [2203306141].csv", "Inbox"), ("Arbeit 🛠 [7].csv", "Arbeit 🛠")),
    ],
)
def test_the_name_of_a_project(member: str, name: str) -> None:
    assert todoist.project_name(member) == name


@pytest.mark.parametrize("backup", [False, True])
def test_the_same_again_changes_nothing(api: Api, backup: bool) -> None:
    content: Any = {"Work [1].csv": TEMPLATE, "Home [2].csv": project("task,Milk,,tomorrow,")} if backup else TEMPLATE
    seen = answered(api, content, preview=True)
    assert not Task.objects.exists()
    first = answered(api, content)
    for name in ("tasks", "categories", "notes"):
        assert first[name] == seen[name]
    number, log, tasks = first["tasks"]["created"], log_of(api.user), made(api)
    assert number == (6 if backup else 5)
    again = answered(api, content)
    assert again["tasks"] == {"created": 0, "updated": 0, "unchanged": number, "kept": 0}
    assert again["notes"] == first["notes"]
    assert (log_of(api.user), made(api)) == (log, tasks)
    assert answered(Api(bob()), content)["tasks"]["created"] == number


def test_a_date_that_is_another_one_tomorrow_is_taken_once(api: Api) -> None:
    content = project("task,Milk,,tomorrow,").encode()
    days = {
        str(row.fields["due_date"]) for day in (1, 2) for row in rows(content, datetime(2099, 1, day, 12, tzinfo=UTC))
    }
    assert days == {"2099-01-02", "2099-01-03"}
    assert len({row.source for day in (1, 2) for row in rows(content, datetime(2099, 1, day, tzinfo=UTC))}) == 1


def test_rows_that_are_alike_are_as_many_tasks(api: Api) -> None:
    content = project("task,Milk,,,", "task,Milk,,,", "section,Other,,,", "task,Milk,,,")
    assert answered(api, content)["tasks"]["created"] == 3
    assert answered(api, content)["tasks"]["unchanged"] == 3
    assert Task.objects.count() == 3


def test_rows_that_are_alike_in_projects_of_one_name_are_as_many_tasks(api: Api) -> None:
    """Todoist tells projects apart by their numbers."""
    backup: dict[str, str | bytes] = {f"Work [{number}].csv": project("task,Milk,,,") for number in (1, 2)}
    assert answered(api, backup)["tasks"]["created"] == 2
    assert answered(api, backup)["tasks"]["unchanged"] == 2
    assert Category.objects.count() == 1


def test_rows_that_are_alike_in_two_projects_are_two_tasks(api: Api) -> None:
    backup: dict[str, str | bytes] = {f"{name} [1].csv": project("task,Milk,,,") for name in ("Work", "Home")}
    assert answered(api, backup)["tasks"]["created"] == 2


def test_a_mark_of_utf8_and_the_case_of_a_header_do_not_matter(api: Api) -> None:
    content = "\ufeff" + project("TASK,Milk @a,1,2099-01-31,", "Note,x,,,", "Section,S,,,", "Task,Bread,,,")
    content = content.replace(
        "TYPE,CONTENT,PRIORITY,DATE,TIMEZONE,INDENT", " type ,Content,priority,date,timezone,Indent"
    )
    assert answered(api, content)["tasks"]["created"] == 2
    tasks = made(api)
    assert (tasks["Milk"]["tags"], tasks["Milk"]["description"], tasks["Milk"]["priority"]) == (["a"], "x", "urgent")
    assert (tasks["Milk"]["due_date"], tasks["Bread"]["tags"]) == ("2099-01-31", ["S"])


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_project_that_a_spreadsheet_has_saved_is_read(api: Api, sign: str) -> None:
    answered(api, project("task,Milk,1,2099-01-31,").replace(",", sign))
    assert (made(api)["Milk"]["priority"], made(api)["Milk"]["due_date"]) == ("urgent", "2099-01-31")


@pytest.mark.parametrize(
    "cell, priority", [("1", "urgent"), ("2", "high"), ("3", "medium"), ("4", "low"), ("", "low"), ("9", "low")]
)
def test_priorities(api: Api, cell: str, priority: str) -> None:
    answered(api, project(f"task,Milk,{cell},,"))
    assert made(api)["Milk"]["priority"] == priority


@pytest.mark.parametrize(
    "date, zone, due",
    [
        ("2099-01-31", "", "2099-01-31"),
        ("2099-01-31 09:00", "", "2099-01-31T14:00:00.000Z"),
        ("2099-01-31 09:00", "Europe/Berlin", "2099-01-31T08:00:00.000Z"),
        ("2099-01-31 09:00", "Nowhere/Land", "2099-01-31T14:00:00.000Z"),
        ("2099-01-31", "Europe/Berlin", "2099-01-31"),
        ("Jan 31 2099", "", "2099-01-31"),
        ("31 Jan 2099 9:00", "Asia/Tokyo", "2099-01-31T00:00:00.000Z"),
        ("Jan 31 2099 9pm", "UTC", "2099-01-31T21:00:00.000Z"),
    ],
)
def test_dates_are_read_in_the_zone_of_the_row_or_the_profile(api: Api, date: str, zone: str, due: str) -> None:
    api.patch("profile/", {"time_zone": "America/New_York"})
    zone_notes = {("TIMEZONE", "not_understood"): 1} if zone == "Nowhere/Land" else {}
    assert notes_of(answered(api, project(f"task,Milk,,{date},{zone}"))) == zone_notes
    assert (made(api)["Milk"]["due_date"], made(api)["Milk"]["description"]) == (due, "")


@pytest.mark.parametrize(
    "date", ["every day", "every! 3 months", "2099-02-30", "jeden Montag", "after work", "x" * 2000]
)
def test_what_is_no_single_day_is_kept_in_the_description(api: Api, date: str) -> None:
    assert notes_of(answered(api, project(f"task,Milk,,{date},"))) == {("DATE", "moved"): 1}
    assert (made(api)["Milk"]["due_date"], made(api)["Milk"]["description"]) == (None, f"Due: {date}")


def test_texts_that_do_not_fit_are_not_lost(api: Api) -> None:
    long = "word " * 100
    labels = " ".join(f"@label{number}" for number in range(30))
    answered(
        api,
        project(f"section,{'s' * 80},,,", f'task,"{long}",,,', "task,@only,,,", f"task,Many {labels},,,", "task,,,,"),
    )
    tasks = made(api)
    (cut,) = [task for title, task in tasks.items() if title.startswith("word")]
    assert (len(cut["title"]), cut["title"][-1], cut["description"]) == (255, "…", long.strip())
    assert cut["tags"] == ["s" * 50]
    assert len(tasks["Many"]["tags"]) == 20
    assert Task.objects.filter(title="…").count() == 2


def test_signs_that_no_title_may_have_are_left_out(api: Api) -> None:
    answered(
        api,
        project('task,"Mi\0lk\x07 and\nbread @a\x1bb",,,', 'note,"a\0b",,,', 'section,"S\x07,x",,,', "task,Next,,,"),
    )
    tasks = made(api)
    assert tasks["Mi lk and bread"]["description"] == "ab"
    assert tasks["Next"]["tags"] == ["S x"]


def test_a_comment_before_any_task_is_noted(api: Api) -> None:
    answer = answered(api, project("note,For the project,,,", "task,Milk,,,", "other,x,,,"))
    assert (answer["tasks"]["created"], notes_of(answer)) == (
        1,
        {("CONTENT", "unresolved"): 1, ("TYPE", "left_out"): 1},
    )


def test_a_row_may_be_short(api: Api) -> None:
    assert answered(api, f"{HEADER}\ntask\ntask,Milk\nsection\ntask,Bread,x\n,\n")["tasks"]["created"] == 3
    assert made(api)["Bread"]["description"] == "x"


def test_what_cannot_be_read_in_a_backup_lets_nothing_in(api: Api) -> None:
    good = project("task,Milk,,,")
    for bad in ("title\nMilk\n", b"", b"\xff\xfe", 'TYPE,CONTENT\ntask,"Milk', b"TYPE,CONTENT\ntask,M\xfcll\n"):
        response = bring(api, packed({"A [1].csv": good, "B [2].csv": bad}), "application/zip")
        assert response.status_code == 400
        assert response.json()["code"] in {"malformed_request", "unknown_format"}
        assert not Task.objects.exists()
        assert not Category.objects.exists()


def test_what_a_mac_puts_into_an_archive_is_no_project(api: Api) -> None:
    """Finder adds a file for the properties of each one."""
    backup: dict[str, str | bytes] = {
        "Backup/Work [1].csv": project("task,Milk,,,"),
        "__MACOSX/Backup/._Work [1].csv": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X\xb0",
    }
    assert answered(api, backup)["tasks"]["created"] == 1


def test_a_table_with_a_type_is_not_todoists_when_its_types_are_others(api: Api) -> None:
    """Its rows would be left out."""
    response = bring(api, "Type,Content,Due\nBug,Crash,2099-01-31\nFeature,More,\n", "text/csv")
    assert response.status_code == 200
    assert response.json()["tasks"]["created"] == 2


def test_a_broken_template_is_read_or_refused() -> None:
    chance = random.Random(1)
    outcomes = set()
    for _ in range(300):
        content = bytearray(TEMPLATE.encode())
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(content))
            if chance.randrange(2):
                content[place] = chance.choice(b'",;\n\r\0 @\xff' if chance.randrange(8) else b"\xff")
            else:
                del content[place : place + chance.randint(1, 30)]
        with suppress(Refused):
            outcomes.add(len(rows(bytes(content))))
    assert len(outcomes) > 1


def test_a_date_beyond_the_calendar_is_kept_in_the_description(api: Api) -> None:
    response = bring(api, project("task,Milk,,,", "task,Bread,,9998-12-31 23:00,America/New_York"), "text/csv")
    assert (response.status_code, notes_of(response)) == (200, {("DATE", "moved"): 1})
    assert made(api)["Bread"]["description"] == "Due: 9998-12-31 23:00"


# Backups of today


NEW_HEADER = f"{HEADER},DEADLINE,DEADLINE_LANG"


def test_a_deadline_alone_is_the_due_date(api: Api) -> None:
    answered(api, f"{NEW_HEADER}\ntask,Clean,,1,1,,,,,Europe/Berlin,,,2099-07-19,de\n")
    assert made(api)["Clean"]["due_date"] == "2099-07-19"


def test_a_deadline_beside_a_date_and_a_duration_stay_visible(api: Api) -> None:
    row = "task,Both,,1,1,,Bob (2),2099-07-01,en,,30,minute,2099-07-19,en"
    answer = answered(api, f"{NEW_HEADER}\n{row}\n")
    task = made(api)["Both"]
    assert (task["due_date"], task["description"]) == (
        "2099-07-01",
        "Deadline: 2099-07-19\n\nDuration: 30 minute",
    )
    assert notes_of(answer) == {
        ("DEADLINE", "moved"): 1,
        ("DURATION", "moved"): 1,
        ("RESPONSIBLE", "left_out"): 1,
    }


def test_a_subtask_names_its_parent(api: Api) -> None:
    rows_ = ("task,A,,,,1", "task,B,,,,2", "task,C,,,,3", "task,D,,,,2", "task,E,,,,1", "task,F,,,,x")
    answered(api, project(*rows_))
    parts = {title: task["description"].removeprefix("Part of: ") for title, task in made(api).items()}
    assert parts == {"A": "", "B": "A", "C": "B", "D": "A", "E": "", "F": ""}
