"""Tables as CSV: what columns are taken for, what cells mean, and what is refused."""

import csv
import io
import itertools
import re
import sys
import unicodedata
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cast import Api, bob, faults, log_of
from duely.core.clock import now
from duely.core.errors import MAX_REPORTED, Refused
from duely.tasks.models import Category, Task
from duely.transfer.files import opened
from duely.transfer.formats import table
from duely.transfer.formats.sheet import MAX_ROW
from duely.transfer.formats.table import MAX_IGNORED
from duely.transfer.reading import Reading
from duely.transfer.rules import ALIASES, Faulty, columns_of, escaped, instant_text, moment, order_of, unescaped
from transfer.helpers import bring, export, made, notes_of


def answered(api: Api, text: str | bytes, *, preview: bool = False) -> Any:
    """The answer to a table that comes in."""
    response = bring(api, text.encode() if isinstance(text, str) else text, "text/csv", preview=preview)
    assert response.status_code == 200, response.content
    return response.json()


def refused(api: Api, text: str | bytes) -> dict[str, str]:
    """The faults of a table, of which nothing is written."""
    before = Task.objects.count(), Category.objects.count()
    response = bring(api, text.encode() if isinstance(text, str) else text, "text/csv")
    assert response.status_code == 400, response.content
    assert (Task.objects.count(), Category.objects.count()) == before
    return faults(response) if response.json()["code"] == "validation_failed" else {"": response.json()["code"]}


def one(api: Api, header: str, row: str) -> dict[str, Any]:
    """The task of a table with one row."""
    answer = answered(api, f"{header}\n{row}\n")
    assert answer["tasks"]["created"] == 1
    (task,) = made(api).values()
    return task


def rows(content: bytes, reading: Reading | None = None) -> list[Any]:
    """What the reader makes of a file."""
    with opened(io.BytesIO(content), "UTC", now()) as source:
        return list(source.rows(reading or Reading()))


# Columns


def test_columns_are_known_by_many_names_and_the_others_are_named(api: Api) -> None:
    text = "Task Name;NOTES;Prio;Due_On;Project;Labels;Done;Assignee;ID;created-at\nMilk;2 l;P1;2099-01-31;Home;a;;Bob;7;\n"
    answer = answered(api, text)
    assert answer["format"] == "csv"
    assert answer["columns"] == {
        "Task Name": "title",
        "NOTES": "description",
        "Prio": "priority",
        "Due_On": "due_date",
        "Project": "category",
        "Labels": "tags",
        "Done": "completed",
        "created-at": "created_at",
    }
    assert answer["ignored_columns"] == ["Assignee", "ID"]
    milk = made(api)["Milk"]
    assert (milk["description"], milk["priority"], milk["due_date"]) == ("2 l", "urgent", "2099-01-31")
    assert (milk["category"], milk["tags"], milk["status"]) == ("Home", ["a"], "pending")
    assert answer["sample"][0]["title"] == "Milk"


@pytest.mark.parametrize("header", ["title", "TITLE", " Title ", "t_i-t l e", "Task", "task name", "Subject:", "What?"])
def test_case_blanks_and_signs_of_a_header_do_not_matter(api: Api, header: str) -> None:
    assert one(api, header, "Milk")["title"] == "Milk"


VALUES = {"due_date": ("2099-01-31", "2099-02-01"), "priority": ("high", "low"), "status": ("Done", "Open")}
VALUES |= dict.fromkeys(("completed_at", "created_at", "updated_at"), ("2026-01-05", "2026-01-06"))
VALUES["completed"] = ("yes", "no")
PAIRS = [
    pytest.param(field, *pair, id=f"{field}: {' and '.join(pair)}")
    for field, aliases in ALIASES.items()
    if field not in (*table.OF_OURS, "key")
    for pair in itertools.combinations(aliases, 2)
]
"""The better name comes first."""


def read_pair(field: str, headers: tuple[str, str], cells: tuple[str, str]) -> tuple[Any, str, Reading]:
    """The one task of a table with two columns for a field, its category, and the notes."""
    title = () if field == "title" else ("title",)
    reading = Reading()
    content = ",".join((*headers, *title)) + "\n" + ",".join((*cells, *("Milk" for _ in title))) + "\n"
    *categories, task = rows(content.encode(), reading)
    return task, "".join(category.fields["name"] for category in categories), reading


@pytest.mark.parametrize("field, better, worse", PAIRS)
def test_both_of_two_columns_for_a_field_are_kept(field: str, better: str, worse: str) -> None:
    value, other = VALUES.get(field, ("north", "south"))

    task, category, reading = read_pair(field, (worse, better), (other, value))

    fields = task.fields
    assert (reading.columns[better], reading.columns[worse], reading.ignored) == (field, field, [])
    if field == "description":
        assert fields["description"] == f"{value}\n\n{other}"
    elif field in ("tags", "column"):
        assert fields["tags"] == [value, other]
    elif field == "category":
        assert (category, fields["tags"]) == (value, [other])
    else:
        alone, _, _ = read_pair(field, ("x", better), ("", value))
        parts = [part for part in (alone.fields["description"], f"{worse}: {other}") if part]
        assert fields == {**alone.fields, "description": "\n\n".join(parts)}
        assert (worse, "moved") in {(note.field, note.reason) for note in reading.notes}


@pytest.mark.parametrize("field, better, worse", PAIRS)
def test_the_next_column_counts_where_the_better_is_empty(field: str, better: str, worse: str) -> None:
    value = VALUES.get(field, ("north",))[0]

    task, category, reading = read_pair(field, (better, worse), ("", value))

    alone, its_category, _ = read_pair(field, ("x", worse), ("", value))
    assert (task.fields, category) == (alone.fields, its_category)
    has_note = (worse, "changed") in {(note.field, note.reason) for note in reading.notes}
    assert has_note == (field in table.ONE_VALUE)


def test_of_several_dates_the_most_specific_one_is_due(api: Api) -> None:
    answer = answered(
        api,
        "Task Name,Date,Due Date,Deadline\n"
        "A,2098-12-01,2098-12-05,2098-12-09\nB,,2098-12-06,\nC,2098-12-01,,\nD,2098-12-01,soon,\nE,,2098-12-05,2098-12-05\n",
    )
    assert answer["columns"] == {
        "Task Name": "title",
        "Date": "due_date",
        "Due Date": "due_date",
        "Deadline": "due_date",
    }
    assert {title: (task["due_date"], task["description"]) for title, task in made(api).items()} == {
        "A": ("2098-12-05", "Deadline: 2098-12-09\n\nDate: 2098-12-01"),
        "B": ("2098-12-06", ""),
        "C": ("2098-12-01", ""),
        "D": ("2098-12-01", "Due Date: soon"),
        "E": ("2098-12-05", ""),
    }
    assert notes_of(answer) == {
        ("Deadline", "moved"): 1,
        ("Date", "moved"): 1,
        ("Date", "changed"): 2,
        ("Due Date", "moved"): 1,
    }


def test_columns_with_the_same_name_are_all_read(api: Api) -> None:
    """Jira has a column for each comment and each label."""
    answer = answered(
        api,
        "Summary,Issue key,Issue id,Due date,Labels,Labels,Comment,Description,Comment\n"
        "Fix,AB-1,10001,05/Dec/98,red,blue,first,Body,second\n",
    )
    task = made(api)["Fix"]
    assert task["tags"] == ["red", "blue"]
    assert task["description"].startswith("Body\n\nfirst\n\nsecond")
    assert answer["ignored_columns"] == ["Issue id"]


def test_the_order_of_days_and_months_is_that_of_the_column() -> None:
    """One column may be written by a person, the other by the program."""
    tasks = rows(b"Title,Deadline,Due\nMilk,12/31/2098,\nBread,,31/12/2098\nEgg,03/04/2099,\n")
    assert [str(task.fields["due_date"]) for task in tasks] == ["2098-12-31", "2098-12-31", "2099-03-04"]


def test_of_two_ambiguous_dates_the_better_one_is_refused(api: Api) -> None:
    assert refused(api, "Title,Deadline,Due\nMilk,2099-01-31,03/04/2099\n") == {"rows[2].due_date": "invalid_date"}
    assert one(api, "Title,Deadline,Due", "Milk,03/04/2099,2099-01-31")["description"] == "Deadline: 03/04/2099"


def test_in_our_own_table_the_left_column_counts(api: Api) -> None:
    answer = answered(
        api, "id,version,former_status,title,due,Deadline,notes,comment\n,,,Milk,2099-01-31,2099-02-01,a,b\n"
    )
    assert answer["ignored_columns"] == ["Deadline", "comment"]
    assert (made(api)["Milk"]["due_date"], made(api)["Milk"]["description"]) == ("2099-01-31", "a")


def test_columns_without_a_name_are_not_reported_and_not_too_many_others() -> None:
    reading = Reading()
    header = ["title", "", " ", *(f"other {number}" for number in range(MAX_IGNORED + 5))]
    assert len(rows((",".join(header) + "\nMilk\n").encode(), reading)) == 1
    assert reading.ignored == [f"other {number}" for number in range(MAX_IGNORED)]


def test_an_id_that_is_not_ours_makes_no_difference(api: Api) -> None:
    """Neither one that we could take, nor one of a task that is there."""
    there = api.post("tasks/", {"title": "There"}).json()
    answer = answered(api, f"id,title,version\n{there['id']},Milk,7\n12,Bread,x\n")
    assert answer["ignored_columns"] == ["id", "version"]
    assert answer["tasks"] == {"created": 2, "updated": 0, "unchanged": 0, "kept": 0}
    assert api.get(f"tasks/{there['id']}/").json() == there


@pytest.mark.parametrize(
    "text", ["due,priority\n2099-01-31,low\n", "Milk\nBread\n", ",\nMilk,\n", "'\n", "x;y\n", "t\n"]
)
def test_without_a_column_for_titles_nothing_comes_in(api: Api, text: str) -> None:
    assert refused(api, text) == {"title": "required"}


def test_every_name_of_a_column_is_found_and_none_stands_for_two_fields() -> None:
    names = [alias for aliases in ALIASES.values() for alias in aliases]
    assert len(names) == len(set(names))
    for name, aliases in ALIASES.items():
        assert [columns_of([alias]) for alias in aliases] == [{0: name}] * len(aliases)
    assert columns_of(["x", "Title", "title", "DUE date"]) == {1: "title", 2: "title", 3: "due_date"}


# Lines and cells


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_cells_may_be_parted_by_any_usual_sign(api: Api, sign: str, end: str, mark: str) -> None:
    lines = [["title", "description", "tags"], ["Milk", f'"a{sign}b"', '"x,y;z"'], ["Bread", "", ""]]
    answered(api, mark + end.join(sign.join(line) for line in lines))
    tasks = made(api)
    assert [*sorted(tasks)] == ["Bread", "Milk"]
    assert (tasks["Milk"]["description"], tasks["Milk"]["tags"]) == (f"a{sign}b", ["x", "y", "z"])


def test_a_cell_may_have_quotes_and_several_lines(api: Api) -> None:
    text = 'title,description\n"Say ""hi""","one\ntwo\r\n\r\n=three"\nInches 5" 6",x\n'
    answered(api, text)
    tasks = made(api)
    assert tasks['Say "hi"']["description"] == "one\ntwo\r\n\r\n=three"
    assert tasks['Inches 5" 6"']["description"] == "x"


def test_a_title_of_several_lines_is_one_line(api: Api) -> None:
    assert one(api, "title", '" Buy\n  milk\t now "')["title"] == "Buy milk now"


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"title\nM\xfcller\n",
            b"title\n\xc3",
            b"title\n" + b"a" * 9000 + b"\xff",
        ),
        *(b'title,x\n"Milk,1\n', b'title\n"Milk"x\n', b'title\n"Milk" \n', b'"title\n', b'title\nMilk\n"'),
        b"title\n" + b"a" * 200_000,  # longer than any cell may be
    ],
)
def test_what_is_not_csv_in_utf8_is_refused(api: Api, content: bytes) -> None:
    assert refused(api, content) == {"": "malformed_request"}


@pytest.mark.parametrize(
    "content",
    [
        b"title,x\n" + b"Milk,y\n" * 5 + b"a," * (MAX_ROW // 2),
        b'title,x\n"' + b"a\n" * (MAX_ROW // 2) + b'"\n',
        b"title" + b",x" * (MAX_ROW // 2) + b"\nMilk\n",
        b'"title' + b"\n" * MAX_ROW,
    ],
    ids=["cells", "lines", "header", "lines of the header"],
)
def test_a_row_may_not_be_longer_than_a_megabyte(api: Api, content: bytes) -> None:
    assert refused(api, content) == {"": "malformed_request"}


def test_many_rows_together_may_be_longer_than_one() -> None:
    line = b"Milk," + b"x" * 100_000 + b"\n"
    assert len(rows(b"title,other\n" + line * 25)) == 25


def test_control_characters_are_left_out_and_noted(api: Api) -> None:
    answer = answered(api, "title,description,tags,category\nMi\0lk,a,b,c\nBread,a\0b,b,c\nWine,a,b\0b,c\n")
    tasks = made(api)
    assert (tasks["Mi lk"]["tags"], tasks["Bread"]["description"], tasks["Wine"]["tags"]) == (["b"], "ab", ["b b"])
    assert notes_of(answer) == {("title", "changed"): 1, ("description", "changed"): 1, ("tags", "changed"): 1}


def test_blank_lines_do_not_count_but_are_counted(api: Api) -> None:
    text = "title,due\n\nMilk,\n,\n   ,  \n\n\nBread,3/4/2099\n"
    assert refused(api, text) == {"rows[8].due_date": "invalid_date"}
    answered(api, text.replace("3/4/2099", "2099-01-31"))
    assert {*made(api)} == {"Milk", "Bread"}


@pytest.mark.parametrize("before", ["\n", "\r\n\r\n", ",,\n", "  \n"])
def test_the_header_is_the_first_line_that_is_not_blank(api: Api, before: str) -> None:
    answered(api, before + "title,priority,x\nMilk,high\n")
    assert {*made(api)} == {"Milk"}


def test_a_blank_line_before_the_header_does_not_hide_what_parts_the_cells(api: Api) -> None:
    answered(api, "\ntitle;priority\nMilk;high\n")
    assert made(api)["Milk"]["priority"] == "high"


def test_short_rows_lack_cells_and_further_cells_are_noted(api: Api) -> None:
    answer = answered(api, "title,priority,tags\nMilk\nBread,high\nWine,low,a,b,c,d\n")
    tasks = made(api)
    assert (tasks["Milk"]["priority"], tasks["Bread"]["priority"], tasks["Wine"]["tags"]) == ("medium", "high", ["a"])
    assert notes_of(answer) == {(f"column {place}", "left_out"): 1 for place in (4, 5, 6)}


def test_a_row_that_ends_before_its_title_has_none(api: Api) -> None:
    assert refused(api, "due,title\n2099-01-31\n2099-01-31,\n2099-01-31,Milk\n") == {
        "rows[2].title": "required",
        "rows[3].title": "required",
    }


@pytest.mark.parametrize("text", ["title", "title\n", "\ufefftitle,due\r\n", "title,due\n\n,\n"])
def test_a_header_alone_is_a_table_without_rows(api: Api, text: str) -> None:
    answer = answered(api, text)
    assert answer["tasks"] == answer["categories"] == {"created": 0, "updated": 0, "unchanged": 0, "kept": 0}
    assert answer["sample"] == []


# Dates


@pytest.mark.parametrize(
    "cell, due",
    [
        ("2098-12-31", "2098-12-31"),
        ("2098/12/31", "2098-12-31"),
        ("2098.1.2", "2098-01-02"),
        ("31/12/2098", "2098-12-31"),
        ("12/31/2098", "2098-12-31"),
        ("31.12.2098", "2098-12-31"),
        ("03.04.2098", "2098-04-03"),
        ("3-13-2098", "2098-03-13"),
        ("04/04/2098", "2098-04-04"),
        (" 2098-12-31 ", "2098-12-31"),
        ("2098-12-31T09:00:00Z", "2098-12-31T09:00:00.000Z"),
        ("2098-12-31T09:00:00.123456789Z", "2098-12-31T09:00:00.123Z"),
        ("2098-12-31 9:05", "2098-12-31T09:05:00.000Z"),
        ("2098-12-31 09:00 +0530", "2098-12-31T03:30:00.000Z"),
        ("2098-12-31T09:00:00-05:00", "2098-12-31T14:00:00.000Z"),
        ("2098-12-31 09:00 UTC", "2098-12-31T09:00:00.000Z"),
        ("31/12/2098, 9:00 PM", "2098-12-31T21:00:00.000Z"),
        ("12/31/2098 12:00 am", "2098-12-31T00:00:00.000Z"),
        ("12/31/2098 12:30PM", "2098-12-31T12:30:00.000Z"),
        ("12/31/2098 11:59:59 pm", "2098-12-31T23:59:59.000Z"),
        ("12/31/27", "2027-12-31"),
        ("31.12.68", "2068-12-31"),
        ("31/12/98", "1998-12-31"),
        ("January 31, 2098", "2098-01-31"),
        ("Jan 31 2098 9:30 PM", "2098-01-31T21:30:00.000Z"),
        ("January 31, 2098 9:00 AM (GMT+1)", "2098-01-31T08:00:00.000Z"),
        ("31 January 2098", "2098-01-31"),
        ("31-Jan-2098", "2098-01-31"),
        ("31. Dec 2098, 9:00", "2098-12-31T09:00:00.000Z"),
        ("Friday, January 31, 2098", "2098-01-31"),
        ("Fri 31 Jan 2098", "2098-01-31"),
        ("2098-12-31T09:00:00+01", "2098-12-31T08:00:00.000Z"),
    ],
)
def test_dates_are_read_as_people_write_them(api: Api, cell: str, due: str) -> None:
    assert one(api, "title;due", f"Milk;{cell}")["due_date"] == due


@pytest.mark.parametrize("cell", ["03/04/2098", "3-4-2098", "03/04/98", "3.4/2098 9:00", "03/04/2098 9:00 PM"])
def test_a_date_that_could_be_two_is_a_fault(api: Api, cell: str) -> None:
    if "." in cell:
        cell = cell.replace(".", "/")
    assert refused(api, f'title,due,created\n"Milk","{cell}",\n') == {"rows[2].due_date": "invalid_date"}
    assert refused(api, f'title,due,created\n"Milk",,"{cell}"\n') == {"rows[2].created_at": "invalid_date"}


@pytest.mark.parametrize(
    "cell",
    [
        *("2098-02-30", "31/02/2098", "2098-13-01", "13/13/2098", "0/1/2098", "00.00.2098"),
        *("1899-12-31", "9999-01-01", "0000-01-01", "0001-01-01 10:00", "31/12/0001", "2098-1", "20981231"),
        *("2098-12-31 25:00", "2098-12-31 24:00", "2098-12-31 9:60", "2098-12-31 13:00 PM", "2098-12-31 0:10 AM"),
        *("2098-12-31T09:00:00+25:00", "2098-12-31 9", "2098-12-31 PM", "tomorrow", "never", "0", "45000", "-"),
        *("٢٠٩٨-١٢-٣١", "2098-12-31 ٠٩:٠٠", "2098-12-31x", "x2098-12-31", "2098-12-31\n2098-12-31", "31/12/20988"),
        *("January 32, 2098", "Smarch 1, 2098", "2098-12-31" + " " * 100 + "9:00", "9" * 5000),
    ],
)
def test_what_is_no_date_goes_into_the_description(api: Api, cell: str) -> None:
    answer = answered(api, f'title,due,created\n"Milk","{cell}","{cell}"\n')
    task = made(api)["Milk"]
    assert (task["due_date"], task["description"]) == (None, f"Due: {cell.strip()}")
    assert notes_of(answer) == {("due", "moved"): 1, ("created", "not_understood"): 1}


@pytest.mark.parametrize(
    "first, due", [("31/12/2098", "2098-04-03"), ("12/31/2098", "2098-03-04"), ("1.2.2098", "2098-04-03")]
)
def test_another_row_tells_days_from_months(api: Api, first: str, due: str) -> None:
    answered(api, f"title,due\nMilk,03/04/2098\nOther,{first}\n")
    assert made(api)["Milk"]["due_date"] == due


def test_another_column_tells_days_from_months(api: Api) -> None:
    answered(api, "title,due,created\nMilk,03/04/2098,12/31/2020\nBread,05/06/2098,\n")
    tasks = made(api)
    assert [tasks[name]["due_date"] for name in ("Milk", "Bread")] == ["2098-03-04", "2098-05-06"]
    assert tasks["Milk"]["created_at"] == "2020-12-31T00:00:00.000Z"


def test_columns_that_differ_are_read_as_each_one_is_written(api: Api) -> None:
    answered(api, "title,due,created\nMilk,03/04/2098,02.01.2020\nBread,12/31/2098,\n")
    milk = made(api)["Milk"]
    assert (milk["due_date"], milk["created_at"]) == ("2098-03-04", "2020-01-02T00:00:00.000Z")


def test_a_date_that_contradicts_its_column_is_kept_as_text(api: Api) -> None:
    answer = answered(api, "title,due\nMilk,31/12/2098\nBread,12/31/2098\n")
    assert made(api)["Bread"]["description"] == "Due: 12/31/2098"
    assert notes_of(answer) == {("due", "moved"): 1}


def test_what_no_column_is_taken_for_tells_nothing_of_dates(api: Api) -> None:
    assert refused(api, "title,due,birthday\nMilk,03/04/2098,12/31/1980\n") == {"rows[2].due_date": "invalid_date"}


def test_dates_with_points_begin_with_the_day_whatever_others_do() -> None:
    assert order_of(["03.04.2098"]) == "day"
    for order in (None, "day", "month"):
        found = moment("03.04.2098", order)
        assert found is not None
        assert found.day == "2098-04-03"


def test_dates_that_come_late_in_a_long_table_are_read_too() -> None:
    for cell in ("31/12/2098", "12/31/2098", "31.12.2098", "2098-12-31"):
        found = rows(("title,due\n" + "Milk,\n" * (table.LOOKED_AT + 5) + f"Last,{cell}\n").encode())
        assert [row for row in found if isinstance(row, Faulty)] == []
        assert str(found[-1].fields["due_date"]) == "2098-12-31"


def test_times_without_an_offset_are_those_of_the_profile(api: Api) -> None:
    api.patch("profile/", {"time_zone": "America/New_York"})
    text = "title,due,created\nA,2098-07-01 09:00,2020-01-31\nB,2098-07-01T09:00:00Z,2020-07-01 12:00\nC,2098-07-01,\n"
    answered(api, text)
    tasks = made(api)
    assert [tasks[name]["due_date"] for name in "ABC"] == [
        "2098-07-01T13:00:00.000Z",
        "2098-07-01T09:00:00.000Z",
        "2098-07-01",
    ]
    assert tasks["A"]["created_at"] == "2020-01-31T05:00:00.000Z"
    assert tasks["B"]["created_at"] == "2020-07-01T16:00:00.000Z"


def test_a_time_that_the_clocks_skip_is_read_all_the_same(api: Api) -> None:
    api.patch("profile/", {"time_zone": "America/New_York"})
    assert one(api, "title,created", "Milk,2020-03-08 02:30")["created_at"] == "2020-03-08T07:30:00.000Z"


@settings(max_examples=120, deadline=None)
@given(
    text=st.text(max_size=20)
    | st.from_regex(
        r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ,]*\d{1,2}:\d\d(:\d\d(\.\d+)?)?( ?[AaPp][Mm])?(Z|[+-]\d\d:?\d\d)?)?"
    ),
    order=st.sampled_from([None, "day", "month"]),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]),
)
def test_no_text_in_place_of_a_date_does_harm(text: str, order: str | None, zone: str) -> None:
    found = moment(text, order)
    assert order_of([text]) in {None, "day", "month"}
    if found is not None:
        instant_text(found, zone)
    content = io.StringIO()
    csv.writer(content).writerows([["title", "due", "created"], ["Milk", text, text]])
    for row in rows(content.getvalue().encode()):
        assert not isinstance(row, Faulty) or {fault.field for fault in row.faults} <= {
            "rows[2].due_date",
            "rows[2].created_at",
        }


# Words


@pytest.mark.parametrize(
    "cell, priority",
    [
        *(("", "medium"), ("low", "low"), ("LOW", "low"), ("P4", "low"), ("none", "medium"), ("Normal", "medium")),
        *((" High ", "high"), ("p2", "high"), ("Urgent!", "urgent"), ("P1", "urgent"), ("critical", "urgent")),
    ],
)
def test_words_for_priorities(api: Api, cell: str, priority: str) -> None:
    assert one(api, "title,priority", f"Milk,{cell}")["priority"] == priority


@pytest.mark.parametrize(
    "cell, status",
    [
        *(("", "pending"), ("To Do", "pending"), ("to-do", "pending"), ("Not started", "pending"), ("OPEN", "pending")),
        *(("In Progress", "in_progress"), ("in_progress", "in_progress"), ("Doing", "in_progress")),
        *(("Done", "completed"), ("closed", "completed"), ("Won't do", "cancelled"), ("canceled", "cancelled")),
        ("overdue", "pending"),  # nothing is due
    ],
)
def test_words_for_statuses(api: Api, cell: str, status: str) -> None:
    assert one(api, "title,status", f"Milk,{cell}")["status"] == status


@pytest.mark.parametrize("column", ["completed", "Done", "Is completed"])
@pytest.mark.parametrize(
    "cell, status",
    [
        *(("true", "completed"), ("YES", "completed"), ("x", "completed"), ("1", "completed"), ("[x]", "completed")),
        *(("", "pending"), ("FALSE", "pending"), ("no", "pending"), ("0", "pending"), ("[ ]", "pending")),
    ],
)
def test_words_for_what_is_done(api: Api, column: str, cell: str, status: str) -> None:
    task = one(api, f"title,{column}", f"Milk,{cell}")
    assert task["status"] == status
    assert (task["completed_at"] is not None) == (status == "completed")


@pytest.mark.parametrize("cell", ["✓", "✔", "☑", "✅"])
def test_a_tick_is_never_taken_for_no(api: Api, cell: str) -> None:
    """It is understood or refused."""
    response = bring(api, f"title,done\nMilk,{cell}\n", "text/csv")
    assert response.status_code == 400 or made(api)["Milk"]["status"] == "completed"


def test_a_status_says_more_than_a_tick(api: Api) -> None:
    answered(api, "title,status,done\nA,cancelled,true\nB,,yes\nC,doing,\n")
    assert {title: task["status"] for title, task in made(api).items()} == {
        "A": "cancelled",
        "B": "completed",
        "C": "in_progress",
    }


def test_when_it_was_done_is_taken(api: Api) -> None:
    task = one(api, "title,done,completed on", "Milk,yes,2020-01-31 09:00")
    assert task["completed_at"] == "2020-01-31T09:00:00.000Z"


def test_words_that_are_not_known_go_into_the_description(api: Api) -> None:
    answer = answered(api, "title,priority,status,completed\nMilk,7,maybe,perhaps\n")
    assert made(api)["Milk"]["description"] == "Status: maybe\n\nDone: perhaps\n\nPriority: 7"
    assert notes_of(answer) == {("priority", "moved"): 1, ("status", "moved"): 1, ("completed", "moved"): 1}


@pytest.mark.parametrize(
    "word, status", [("deferred", "pending"), ("Waiting on someone else", "pending"), ("In review", "in_progress")]
)
def test_a_status_without_an_exact_counterpart_is_noted(api: Api, word: str, status: str) -> None:
    answer = answered(api, f"Title,Status\nA,{word}\n")
    assert made(api)["A"]["status"] == status
    assert notes_of(answer) == {("Status", "changed"): 1}


@pytest.mark.parametrize(
    "cell, status",
    [("0", "pending"), ("0.5", "in_progress"), ("50%", "in_progress"), ("100%", "completed"), ("1", "completed")],
)
def test_a_share_of_what_is_done_is_a_status(api: Api, cell: str, status: str) -> None:
    answer = answered(api, f"Subject,% Complete\nA,{cell}\n")
    assert made(api)["A"]["status"] == status
    assert notes_of(answer) == ({("% Complete", "moved"): 1} if status == "in_progress" else {})


def test_a_number_for_a_priority_is_not_guessed(api: Api) -> None:
    """Some programs count up, some down."""
    answer = answered(api, "Title,Priority\nA,0\nB,3\n")
    tasks = made(api)
    assert [(tasks[name]["priority"], tasks[name]["description"]) for name in "AB"] == [
        ("medium", ""),
        ("medium", "Priority: 3"),
    ]
    assert notes_of(answer) == {("Priority", "moved"): 1}


def test_a_date_of_completion_completes_where_no_column_says_it(api: Api) -> None:
    """Asana's table: github.com/makeplane/plane, issue 7878, has its columns."""
    header = "Task ID,Created At,Completed At,Last Modified,Name,Section/Column,Assignee,Due Date,Tags,Notes,Projects,Parent task"
    rows_ = '1200,2026-01-02,,2026-01-03,Draft,To do,,2099-02-01,"a,b",Text,Work,\n1201,2026-01-02,2026-01-05,2026-01-05,Plan,Done,Bob,,,,Work,Draft'
    answer = answered(api, f"{header}\n{rows_}\n")
    tasks = made(api)
    assert (tasks["Plan"]["status"], tasks["Plan"]["completed_at"]) == ("completed", "2026-01-05T00:00:00.000Z")
    assert (tasks["Plan"]["tags"], tasks["Plan"]["description"]) == (["Done"], "Part of: Draft")
    assert (tasks["Draft"]["status"], tasks["Draft"]["category"], tasks["Draft"]["tags"]) == (
        "pending",
        "Work",
        ["a", "b", "To do"],
    )
    assert notes_of(answer) == {("Parent task", "moved"): 1, ("Assignee", "left_out"): 1}


OUTLOOK = (
    "Subject,Start Date,Due Date,Reminder On/Off,Reminder Date,Reminder Time,Date Completed,% Complete,Total Work,"
    "Actual Work,Billing Information,Categories,Companies,Contacts,Mileage,Notes,Priority,Private,Role,"
    "Schedule+ Priority,Sensitivity,Status\n"
    "Call,1/31/2099,2/28/2099,False,,,,0,0,0,,Home;Phone,,,,Text,High,False,,,Normal,In Progress\n"
    "Done,,2/1/2099,False,,,1/31/2026,1,0,0,,,,,,,Normal,False,,,Normal,Completed\n"
)
KANBOARD = (
    "Task Id,Reference,Project,Status,Category,Swimlane,Column,Position,Color,Due date,Creator,Assignee Name,Complexity,"
    "Title,Creation date,Modification date,Completion date,Start date,Priority,Tags\n"
    "7,,Work,Open,Bug,Default swimlane,Ready,1,Yellow,12/31/2098 00:00,admin,,0,Call,01/15/2026 10:00,01/16/2026 10:00,,,2,a\n"
)
NOTION = 'Name,Assign,Due,Status,Tags\nCall,Bob,"January 31, 2099 9:00 AM (GMT+1)",Not started,"a, b"\n'
PLANNER = (
    "Task ID,Task Name,Bucket Name,Progress,Priority,Assigned To,Created Date,Start date,Due date,Completed Date,Labels,Description\n"
    "Xyz1,Call,Ideas,In progress,Important,Bob,01/31/2026,,02/28/2099,,Red;Blue,Text\n"
)
TRELLO = "Card ID,Card Name,Card URL,Card Description,Labels,Due Date,List Name,Board Name\n5f,Call,https://x.example/5f,Text,a,2099-01-31T09:00:00.000Z,Doing,House\n"
PROGRAMS: dict[str, tuple[str, dict[str, Any], set[tuple[str, str]]]] = {
    "Outlook": (
        OUTLOOK,
        {"status": "in_progress", "due_date": "2099-02-28", "priority": "high", "tags": ["Home", "Phone"], "description": "Text\n\nStart: 1/31/2099"},
        {("Start Date", "moved")},
    ),
    "Kanboard": (
        KANBOARD,
        {"status": "pending", "due_date": "2098-12-31T00:00:00.000Z", "category": "Work", "tags": ["a", "Ready", "Bug"], "description": "Priority: 2"},
        {("Color", "left_out"), ("Swimlane", "left_out"), ("Position", "left_out"),
         ("Creator", "left_out"), ("Complexity", "left_out"), ("Priority", "moved")},
    ),
    "Notion": (NOTION, {"status": "pending", "due_date": "2099-01-31T08:00:00.000Z", "tags": ["a", "b"]}, {("Assign", "left_out")}),
    "Planner": (
        PLANNER,
        {"status": "in_progress", "due_date": "2099-02-28", "priority": "high", "tags": ["Red", "Blue", "Ideas"]},
        {("Assigned To", "left_out")},
    ),
    "Trello": (
        TRELLO,
        {"due_date": "2099-01-31T09:00:00.000Z", "category": "Doing", "description": "Text"},
        {("Card URL", "left_out"), ("Board Name", "left_out")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_table_of_a_known_program_comes_in_right(api: Api, program: str) -> None:
    """After the columns that each of them writes."""
    text, fields, notes = PROGRAMS[program]
    answer = answered(api, text)
    task = made(api)["Call"]
    assert {name: task[name] for name in fields} == fields
    assert {*notes_of(answer)} == notes
    if program == "Outlook":
        assert (made(api)["Done"]["status"], made(api)["Done"]["completed_at"]) == (
            "completed",
            "2026-01-31T00:00:00.000Z",
        )


def test_a_row_with_a_task_id_follows_a_newer_table(api: Api) -> None:
    text = "Task ID,Name,Last Modified,Created At\n1,{},2026-01-0{},2026-01-01\n"
    answered(api, text.format("Milk", 2))
    assert answered(api, text.format("Bread", 3))["tasks"]["updated"] == 1
    assert answered(api, text.format("Milk", 2))["tasks"]["kept"] == 1
    assert {*made(api)} == {"Bread"}


def test_ids_that_come_twice_are_two_tasks(api: Api) -> None:
    answer = answered(api, "Task ID,Name\n1,Milk\n1,Bread\n")
    assert answer["tasks"]["created"] == 2
    assert notes_of(answer) == {("id", "repeated"): 1}


def test_the_line_that_says_what_separates_cells_is_no_row(api: Api) -> None:
    answered(api, "sep=;\r\nTitle;Due\r\nMilk;2027-01-31\r\n")
    assert made(api)["Milk"]["due_date"] == "2027-01-31"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_table_in_utf16_is_read(api: Api, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    answered(api, f"{mark}Title\tDue\nMílk\t2027-01-31\n".encode(encoding))
    assert made(api)["Mílk"]["due_date"] == "2027-01-31"


def test_every_value_of_an_unknown_column_is_counted(api: Api) -> None:
    answer = answered(api, "Title,Color,Color,\nA,red,blue,x\nB,green,,\nC,,,\n", preview=True)
    notes = {note["field"]: (note["count"], note["place"], note["example"]) for note in answer["notes"]}
    assert notes == {
        "Color": (2, "rows[2]", "red"),
        "Color (column 3)": (1, "rows[2]", "blue"),
        "column 4": (1, "rows[2]", "x"),
    }


def test_tags_and_categories(api: Api) -> None:
    answered(api, 'title,tags,project\nA,"x, y;z ,,X",Home\nB,,home\nC,"  ", HOME \nD,one,\n')
    tasks = made(api)
    assert [tasks[name]["tags"] for name in "ABCD"] == [["x", "y", "z"], [], [], ["one"]]
    assert [tasks[name]["category"] for name in "ABCD"] == ["Home", "Home", "Home", None]
    assert Category.objects.count() == 1


def test_a_category_that_is_there_is_taken(api: Api) -> None:
    home = api.post("categories/", {"name": "Home", "color": "#ff0000"}).json()
    answer = answered(api, "title,list\nMilk,HOME\n")
    assert answer["categories"] == {"created": 0, "updated": 0, "unchanged": 1, "kept": 0}
    assert answer["sample"][0]["category"] == home["id"]
    assert Category.objects.get().name == "Home"


# Faults


def test_each_fault_has_the_number_of_its_line_and_its_field(api: Api) -> None:
    text = (
        "title,due,priority,tags,category,description\n"
        "Milk,,,,,\n"
        ",,,,,\n"
        ",,low,,,\n"
        '"two\nlines",3/4/2099,y,,,\n'
        "Last,3/4/2099,,,,\n"
    )
    assert refused(api, text) == {
        "rows[4].title": "required",
        "rows[5].due_date": "invalid_date",
        "rows[6].due_date": "invalid_date",
    }


def test_what_does_not_fit_is_cut_and_noted(api: Api) -> None:
    long = "word " * 100
    text = f"title,tags,category,description\n{long},{'b' * 51},{'c' * 101},{'ä' * 40_000}\nMilk,{';'.join('abcdefghijklmnopqrstuvwxyz')},,\n"
    answer = answered(api, text)
    assert notes_of(answer) == {
        ("category", "cut"): 1,
        ("tags", "cut"): 7,
        ("title", "moved"): 1,
        ("description", "cut"): 1,
    }
    tasks = made(api)
    (cut,) = [task for title, task in tasks.items() if title.startswith("word")]
    assert cut["description"].startswith(long.strip() + "\n\nää")
    assert (cut["category"], cut["tags"]) == ("c" * 100, ["b" * 50])


def test_no_more_faults_are_named_than_anyone_reads(api: Api) -> None:
    text = "title,due\n" + "Milk,\n" * 3 + "Milk,3/4/2099\n" * (MAX_REPORTED + 50)
    response = bring(api, text, "text/csv")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [
        f"rows[{number}].due_date" for number in range(5, 5 + MAX_REPORTED)
    ]
    assert not Task.objects.exists()


def test_a_fault_at_the_very_end_keeps_all_out(api: Api) -> None:
    assert refused(api, "title,category\n" + "Milk,Home\n" * 1200 + ",Home\n") == {"rows[1202].title": "required"}


# Again


def test_rows_that_are_alike_are_as_many_tasks_and_the_same_file_again_changes_nothing(api: Api) -> None:
    text = "title,due\nMilk,2099-01-31\nBread,\nMilk,2099-01-31\nMilk,\n"
    seen = answered(api, text, preview=True)
    assert seen["tasks"]["created"] == 4
    assert not Task.objects.exists()
    assert answered(api, text)["tasks"] == seen["tasks"]
    assert Task.objects.count() == 4
    log = log_of(api.user)
    assert answered(api, text)["tasks"] == {"created": 0, "updated": 0, "unchanged": 4, "kept": 0}
    assert log_of(api.user) == log
    assert answered(api, text + "Milk,\nNew,\n")["tasks"] == {"created": 2, "updated": 0, "unchanged": 4, "kept": 0}


def test_the_same_file_makes_tasks_of_their_own_for_someone_else(api: Api) -> None:
    other = Api(bob())
    for each in (api, other):
        assert answered(each, "title\nMilk\n")["tasks"]["created"] == 1
    assert len({*Task.objects.values_list("owner_id", flat=True)}) == 2


def test_what_has_changed_here_since_stays(api: Api) -> None:
    text = "title,project\nMilk,Home\nBread,Home\n"
    for task in answered(api, text)["sample"]:
        if task["title"] == "Milk":
            api.patch(f"tasks/{task['id']}/", {"title": "Oat milk"})
        else:
            api.delete(f"tasks/{task['id']}/")
    assert answered(api, text)["tasks"] == {"created": 0, "updated": 0, "unchanged": 0, "kept": 2}
    assert [*Task.objects.filter(deleted_at=None).values_list("title", flat=True)] == ["Oat milk"]


# Formulas, and our own tables


STARTS = tuple(
    sign
    for sign in map(chr, range(sys.maxunicode + 1))
    if unicodedata.normalize("NFKC", sign).startswith(tuple("=+-@"))
)
"""Also those of full width, small, raised, lowered and double ones."""
TRICKY = st.text(st.sampled_from([*"'\";,\t\r\n\u2028\u00a0\u3000\ufeff\u200b a", *STARTS]), max_size=12)


@pytest.mark.parametrize("sign", STARTS)
def test_every_sign_that_normalises_to_one_is_escaped(sign: str) -> None:
    for text in (f"{sign}1", f" {sign}1", f"a;{sign}1", f"a\n{sign}1"):
        safe = escaped(text)
        assert f"'{sign}1" in safe or safe == f"' {sign}1"
        assert unescaped(safe) == text


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.text(max_size=20) | TRICKY)
def test_an_escaped_cell_is_no_formula_and_comes_back(text: str) -> None:
    safe = escaped(text)
    assert unescaped(safe) == text
    assert not safe.startswith(("\t", "\r", "\n"))
    # As spreadsheets see it that take other signs for separators.
    for cell in re.split(r"[;\t\r\n\u2028]", safe):
        assert not cell.strip().strip('" \u00a0\u3000\ufeff\u200b').startswith(STARTS)


@pytest.mark.parametrize(
    "text, safe",
    [
        ("=1+1", "'=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("  =1", "'  =1"),
        ("\u00a0\u3000@a", "'\u00a0\u3000@a"),
        ("'=1", "''=1"),
        ("a;=1", "a;'=1"),
        ("a; =1", "a;' =1"),
        ('a;"=1"', 'a;\'"=1"'),
        ("a\t=1", "a\t'=1"),
        ("a\n\n-1", "a\n'\n'-1"),
        ("\tx", "'\tx"),
        ("\t=x", "'\t'=x"),
        ("a = b; c - d", "a = b; c - d"),
        ("bob@example.org;'quoted'", "bob@example.org;'quoted'"),
        ("- [ ] milk", "'- [ ] milk"),
        ("", ""),
        ("'", "'"),
        (" ", " "),
    ],
)
def test_only_what_may_begin_a_formula_is_escaped(text: str, safe: str) -> None:
    assert escaped(text) == safe
    assert unescaped(safe) == text


@pytest.mark.parametrize(
    "text, kept", [("'=1", "=1"), ("''=1", "'=1"), ("'\tx", "\tx"), ("'-PT30M", "-PT30M"), ("'tis", "'tis")]
)
def test_tables_of_the_release_before_are_read_as_they_were(text: str, kept: str) -> None:
    assert unescaped(text) == kept


@pytest.mark.slow
@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["\n", " ", "'", ";", "; ", "\n'", "=", ";=", "\n=", '"', "\ufeff"])
def test_a_long_cell_is_read_once(piece: str) -> None:
    # With the square of the length, a million characters would take an hour.
    text = (piece * 1_000_000)[:1_000_000]
    assert unescaped(escaped(text)) == text


def test_a_table_that_is_not_ours_keeps_what_it_begins_with(api: Api) -> None:
    answered(api, "title,description\n'=1+1,'@home\n=2+2,+3\n'tis,-4\n")
    assert {title: task["description"] for title, task in made(api).items()} == {
        "'=1+1": "'@home",
        "=2+2": "+3",
        "'tis": "-4",
    }


def ours(api: Api) -> list[list[str]]:
    """The rows of our own table, as a spreadsheet has them."""
    return list(csv.reader(io.StringIO(export(api, "csv").decode("utf-8-sig"), newline="")))


def saved(found: list[list[str]], sign: str = ",") -> str:
    """The rows as a spreadsheet saves them."""
    content = io.StringIO(newline="")
    csv.writer(content, delimiter=sign).writerows(found)
    return content.getvalue()


def test_our_own_table_with_another_row_brings_one_more_task(api: Api) -> None:
    title, description = "=HYPERLINK(1)", "'=two\n\n lines "
    task = api.post("tasks/", {"title": title, "description": description, "tags": ["a;b"]}).json()
    found = ours(api)
    new = dict.fromkeys(found[0], "") | {"title": "'=New", "tags": "a;b,c", "priority": "high", "category": "Home"}
    text = saved([*found, [*new.values()]], ";")
    answer = answered(api, text)
    assert answer["tasks"] == {"created": 1, "updated": 0, "unchanged": 1, "kept": 0}
    assert api.get(f"tasks/{task['id']}/").json() == task
    added = made(api)["=New"]
    assert (added["tags"], added["priority"], added["category"]) == (["a;b", "c"], "high", "Home")
    assert answered(api, text)["tasks"] == {"created": 0, "updated": 0, "unchanged": 2, "kept": 0}
    assert Task.objects.count() == 2


def test_a_row_of_our_own_table_that_comes_twice_is_refused(api: Api) -> None:
    api.post("tasks/", {"title": "Milk"})
    found = ours(api)
    assert refused(api, saved([*found, found[1]])) == {"rows[3].id": "repeated"}


def test_cells_of_our_own_table_that_are_broken_are_faults(api: Api) -> None:
    api.post("tasks/", {"title": "Milk"})
    header, row = ours(api)
    broken = dict(zip(header, row, strict=True)) | {"id": "x", "version": "x", "former_status": "x", "deleted_at": "x"}
    faulty = dict(zip(header, row, strict=True)) | {"id": "x", "version": "0", "reminders": "-PT1H soon"}
    assert refused(api, saved([header, [*broken.values()], [*faulty.values()]])) == {
        "rows[2].former_status": "invalid_choice",
        "rows[2].deleted_at": "invalid_date",
        "rows[3].id": "invalid_id",
        "rows[3].version": "out_of_range",
        "rows[3].reminders": "invalid_reminder",
    }


CELLS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["Milk", "2099-01-31", "31/12/2098 9:00 PM", "high", "done", "x", "=1", "a,b;c", "'", '"', "\0", "\r", "1", "-PT1H"]
)


@settings(max_examples=120, deadline=None)
@given(
    header=st.lists(st.sampled_from(["title", "due", "priority", "status", "done", "tags", "project", "id", "version",
                                     "former status", "created", "reminders", "x", ""]), max_size=8),
    body=st.lists(st.lists(CELLS, max_size=9), max_size=4),
    sign=st.sampled_from(",;\t|"),
)  # fmt: skip
def test_any_table_is_read_or_refused(header: list[str], body: list[list[str]], sign: str) -> None:
    content = saved([["title", *header], *body], sign).encode()
    for data in (content, b"\xef\xbb\xbf" + content, content[: len(content) // 2]):
        with suppress(Refused):
            rows(data)


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for data in (content, b"title,due\n" + content, b"type,content,date\n" + content):
        with suppress(Refused):
            rows(data)
