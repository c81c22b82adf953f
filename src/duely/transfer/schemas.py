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
    """Options of an export."""

    format: Annotated[
        Literal["json", "csv"],
        msgspec.Meta(
            description="`json`: all data; tasks and categories can be imported again. `csv`: the tasks as a table."
        ),
    ] = "json"


class ImportOptions(msgspec.Struct):
    """Options of an import."""

    preview: Annotated[bool, msgspec.Meta(description="Return the result without writing anything.")] = False


class Export(msgspec.Struct, frozen=True):
    """All data of a user. `categories` and `tasks` have the form that an import reads."""

    format: Literal["duely"]
    version: Literal[1]
    exported_at: Instant
    profile: Profile
    categories: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    activity: list[Activity]


class Counts(msgspec.Struct, frozen=True):
    """Numbers of rows by result. `kept`: changed in Duely after the file was written, and left unchanged."""

    created: int
    updated: int
    unchanged: int
    kept: int


FormatName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [format_.name for format_ in FORMATS]})]
Reason = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*REASONS]})]


class ImportNote(msgspec.Struct, frozen=True):
    """Values of one field that could not be imported unchanged.

    `field` is the name in the file; `*` sums up further fields when there are very many. `count` is the number of
    values. `place` and `example` show the first one.
    """

    field: str
    reason: Reason
    message: str
    count: int
    place: str
    example: str


class ImportResult(msgspec.Struct, frozen=True):
    """The result of an import; with `preview`, the result that it would have.

    `columns` maps the columns of a table to fields; `ignored_columns` were not imported. `notes` lists all values that
    were left out, cut, changed, put into the description or not understood. `sample` shows the first tasks.
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
