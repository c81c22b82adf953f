"""What an import may cost: its work is in proportion to the file, and ends when the time for it is used up."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from cast import Api
from duely.core.clock import now
from duely.tasks.models import Category, Task
from duely.transfer import budget
from duely.transfer.budget import Budget, ImportTooCostly
from duely.transfer.files import opened
from duely.transfer.formats import document, sheet
from duely.transfer.formats.document import CHUNK, MAX_VALUE, Document
from duely.transfer.reading import Reading
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
def test_a_file_that_costs_too_much_is_refused_and_nothing_written(api: Api, name: str, preview: bool) -> None:
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
def test_a_list_that_is_skipped_is_not_decoded_item_by_item(decoder: Counted, item: bytes) -> None:
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


@pytest.mark.timeout(60, method="signal")
@pytest.mark.parametrize("cell", ["1" * 130_000, "1/1/" * 30_000, "Jan " * 30_000, " " * 130_000 + "1"])
def test_a_cell_that_is_no_date_is_not_looked_through(api: Api, cell: str) -> None:
    """What ends it is the time limit of the test."""
    text = "title,due,priority,status,done,start\n" + f"Milk,{','.join([cell] * 5)}\n" * 20
    assert bring(api, text, "text/csv", preview=True).status_code == 200
