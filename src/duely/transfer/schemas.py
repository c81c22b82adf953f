"""Files and their import as clients see them."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from duely.accounts.schemas import Profile
from duely.activity.schemas import Activity
from duely.api.types import Instant
from duely.tasks.schemas import Task, task_of
from duely.transfer.formats import FORMATS
from duely.transfer.imports import Result
from duely.transfer.reading import REASONS

FILES: Mapping[str, Mapping[str, Any]] = {
    "application/json": {
        "export_of_duely": {
            "format": "duely",
            "version": 1,
            "categories": [{"id": "0198c3a0-0000-7000-8000-000000000001", "name": "Home"}],
            "tasks": [
                {
                    "id": "0198c3a0-0000-7000-8000-000000000002",
                    "title": "Pay the rent",
                    "due_date": "2098-01-31",
                    "category": "0198c3a0-0000-7000-8000-000000000001",
                }
            ],
        }
    },
}
"""Examples of files that come in, by their media types."""


class ExportOptions(msgspec.Struct):
    """What kind of file."""

    format: Annotated[
        Literal["json", "csv"],
        msgspec.Meta(description="`json`: everything, which an import takes back. `csv`: tasks as a table."),
    ] = "json"


class ImportOptions(msgspec.Struct):
    """How to bring in a file."""

    preview: Annotated[bool, msgspec.Meta(description="Only say what would become of it: nothing is written.")] = False


class Export(msgspec.Struct, frozen=True):
    """Everything that is mine. `categories` and `tasks` are as an import takes them."""

    format: Literal["duely"]
    version: Literal[1]
    exported_at: Instant
    profile: Profile
    categories: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    activity: list[Activity]


class Counts(msgspec.Struct, frozen=True):
    """How many rows became what. `kept`: they have changed here since the file was written, and stay as they are."""

    created: int
    updated: int
    unchanged: int
    kept: int


FormatName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [format_.name for format_ in FORMATS]})]
Reason = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*REASONS]})]


class ImportNote(msgspec.Struct, frozen=True):
    """What became of the values of one field that could not be taken as they were.

    `field` is the field of the file; `*` stands for further ones, when there are very many. `count` says how many
    values, `place` and `example` which one came first.
    """

    field: str
    reason: Reason
    message: str
    count: int
    place: str
    example: str


class ImportResult(msgspec.Struct, frozen=True):
    """What came of a file, or what would: with `preview`.

    `columns` says what the columns of a table were taken for, `ignored_columns` which ones were left out. `notes` has
    every value that was left out, cut, changed, put into the description or not understood. `sample` has the first
    tasks.
    """

    preview: bool
    format: FormatName
    categories: Counts
    tasks: Counts
    columns: dict[str, str]
    ignored_columns: list[str]
    notes: list[ImportNote]
    sample: list[Task]


def show_result(result: Result, *, preview: bool) -> ImportResult:
    """What came of a file as clients see it."""
    return ImportResult(
        preview=preview,
        format=result.format.name,
        categories=_counts(result.categories),
        tasks=_counts(result.tasks),
        columns=result.reading.columns,
        ignored_columns=result.reading.ignored,
        notes=[
            ImportNote(note.field, note.reason, REASONS[note.reason], note.count, note.place, note.example)
            for note in result.reading.notes
        ],
        sample=[task_of(task) for task in result.sample],
    )


def _counts(counter: Counter[str]) -> Counts:
    return Counts(*(counter[name] for name in Counts.__struct_fields__))
