"""What an import may cost: its work is in proportion to the file, and ends when the time for it is used up."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from cast import Api
from duely.core.clock import now
from duely.tasks.models import Category, Task
from duely.tasks.quick import read_due
from duely.transfer import budget, rules
from duely.transfer.budget import Budget, ImportTooCostly
from duely.transfer.files import opened
from duely.transfer.formats import document, sheet, todoist
from duely.transfer.formats.document import CHUNK, MAX_VALUE, Document
from duely.transfer.reading import Reading
from duely.transfer.rules import MAX_WORD
from transfer.helpers import bring
from transfer.samples import SAMPLES, archived, encoded


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import may take no time at all."""
    monkeypatch.setattr(budget, "BASE_SECONDS", -1.0)
    monkeypatch.setattr(budget, "SECONDS_PER_BYTE", 0)


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("name", [*SAMPLES, "archive"])
def test_a_file_that_costs_too_much_is_refused_whole(api: Api, name: str, preview: bool) -> None:
    content = archived("a.csv", SAMPLES["todoist"]) if name == "archive" else encoded(SAMPLES[name])
    if content[:1] not in b"[{":
        content = encoded(SAMPLES["csv"] + "Milk,,,\n" * sheet.CHECKED_ROWS)
    response = bring(api, content, preview=preview)
    assert (response.status_code, response.json()["code"]) == (422, "import_too_costly")
    assert "Nothing was imported" in response.json()["detail"]
    assert not Task.objects.exists()
    assert not Category.objects.exists()


def test_the_time_grows_with_the_upload_up_to_a_limit() -> None:
    assert Budget(0).seconds == budget.BASE_SECONDS
    assert Budget(100_000).seconds == budget.BASE_SECONDS + 100_000 * budget.SECONDS_PER_BYTE
    assert Budget(2**40).seconds == budget.MAX_SECONDS


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize(
    "content", [b",\n" * 5000, b"title\n" + b",\n" * 5000, b"TYPE,CONTENT,INDENT\n" + b",\n" * 5000]
)
def test_rows_in_which_nothing_stands_cost_time_too(api: Api, content: bytes) -> None:
    assert bring(api, content, "text/csv").json()["code"] == "import_too_costly"


@pytest.mark.usefixtures("no_time")
def test_a_budget_that_is_used_up_refuses() -> None:
    with pytest.raises(ImportTooCostly):
        Budget(100).check()


def checks(content: bytes) -> int:
    """How often the budget is asked while a file is read to its end."""
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1

    reading = Reading(check)
    with opened(io.BytesIO(content), "UTC", now(), reading) as source:
        list(source.rows(reading))
    return asked


def project(**members: Any) -> bytes:
    """An export of Vikunja with further members."""
    return json.dumps([{"title": "Work", "tasks": [{"title": "Milk", "done": False}], **members}]).encode()


WORK: dict[str, Callable[[], bytes]] = {
    "rows": lambda: b"title\n" + b"Milk\n" * 5000,
    "blank rows": lambda: b"title,due\nMilk,\n" + b",\n" * 5000,
    "blank rows before the header": lambda: b",\n" * 5000 + b"title,due\nMilk,\n",
    "a list that is skipped": lambda: project(x=list(range(200_000))),
    "an object that is skipped": lambda: project(x={f"name {number}": 1 for number in range(50_000)}),
    "tasks": lambda: json.dumps(
        [{"title": "Work", "tasks": [{"title": "Milk", "done": False, "description": "x" * 500}] * 2000}]
    ).encode(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORK)
def test_the_budget_is_asked_all_along(name: str) -> None:
    content = WORK[name]()
    rows = content.count(b"\n")
    assert checks(content) >= (rows // sheet.CHECKED_ROWS if rows > 10 else len(content) // CHUNK)


class Counted:
    """The decoder of JSON values, which counts the characters that it looks at."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0

    def raw_decode(self, text: str, at: int) -> Any:
        """A value and its end."""
        self.calls += 1
        self.characters += len(text) - at
        return document.json.JSONDecoder().raw_decode(text, at)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """What has been decoded."""
    counted = Counted()
    monkeypatch.setattr(document, "STRICT", counted)
    return counted


@pytest.mark.parametrize("length", [CHUNK, 4 * CHUNK, MAX_VALUE - 100])
def test_a_long_value_is_decoded_in_proportion_to_its_length(decoder: Counted, length: int) -> None:
    source = Document(io.BytesIO(b'["' + b"a" * length + b'"]'))
    for _ in source.items():
        source.value()
    assert decoder.calls <= 6
    assert decoder.characters <= 4 * (length + CHUNK)


@pytest.mark.parametrize("item", [b"1", b'"a"', b"null", b"[]", b"-1.5e3", b"{}"])
def test_a_skipped_list_is_not_decoded_item_by_item(decoder: Counted, item: bytes) -> None:
    items = 300_000
    source = Document(io.BytesIO(b"[" + (item + b",") * items + item + b"]"))
    source.skip()
    source.end()
    assert decoder.calls < items / 100


@pytest.mark.parametrize("broken", [b"01", b"[1,]", b'"\n"', b"nul", b"1 1", b"NaN", b'{"a":1,"a":2}', b'"\\ud800"'])
def test_a_list_that_is_skipped_is_checked_all_the_same(broken: bytes) -> None:
    long = b"1," * 200_000
    for content in (b"[" + long + broken + b"]", b"[" + broken + b"," + long + b"1]"):
        source = Document(io.BytesIO(content))
        with pytest.raises(document.MalformedRequest):
            source.skip()


def test_a_deep_document_is_refused_and_not_followed(api: Api) -> None:
    for sign in (b"[", b'{"a":', b'[{"tasks":'):
        response = bring(api, sign * 100_000)
        assert (response.status_code, response.json()["code"]) == (400, "malformed_request")


PADDED = " " * MAX_WORD


@pytest.mark.parametrize("cell", ["2098-12-31", "31.12.2098", "January 31, 2098", "31 Jan 2098 9:00"])
def test_no_more_of_a_date_is_looked_at_than_one_has(cell: str) -> None:
    assert rules.moment(cell, "day") is not None
    assert rules.moment(cell + PADDED, "day") is None
    assert rules.order_of([f"31/12/2098{PADDED}"]) is None


def test_no_more_of_a_word_is_looked_at_than_one_has() -> None:
    assert (rules.word("Done"), rules.word(f"Done{PADDED}")) == ("done", "")
    assert (rules.share("50%"), rules.share(f"50%{PADDED}")) == (0.5, None)
    assert (rules.offset_text("-PT30M"), rules.offset_text("-PT" + "0" * MAX_WORD + "30M")) == ("-PT30M", None)


def test_a_spoken_date_is_read_once_and_only_if_short(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def counted(text: str, *more: Any) -> Any:
        lengths.append(len(text))
        return read_due(text, *more)

    monkeypatch.setattr(todoist, "read_due", counted)
    dates = ["tomorrow", "every day", "on by due " * 99, "x" * 130_000, "2098-12-31"]
    text = "TYPE,CONTENT,INDENT,DATE\n" + "".join(f"task,Milk,1,{date}\n" for date in dates)
    with opened(io.BytesIO(text.encode()), "UTC", now()) as source:
        assert len(list(source.rows(Reading()))) == len(dates)
    assert lengths == [len("tomorrow"), len("every day")]
