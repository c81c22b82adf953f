"""Writing everything that is someone's to a file, row by row."""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from duely.accounts.access import user_for
from duely.accounts.schemas import show_profile
from duely.activity.schemas import show_activity_to
from duely.core.actor import Actor
from duely.core.clock import as_shown, rfc3339
from duely.tasks.rules import PRIORITIES, show_due
from duely.transfer import queries
from duely.transfer.files import temporary
from duely.transfer.formats.duely import HEAD
from duely.transfer.rules import escaped

COLUMNS = (
    *("id", "title", "description", "status", "priority", "due_date", "category", "tags", "reminders"),
    *("completed_at", "created_at", "updated_at", "deleted_at", "former_status", "version"),
)


def written(actor: Actor, kind: str, now: datetime) -> BinaryIO:
    """Everything of the actor's in a file of this kind, "json" or "csv", to be read from its beginning."""
    file = temporary()
    try:
        if kind == "json":
            write_json(actor, file, now)
        else:
            write_csv(actor, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def write_json(actor: Actor, file: BinaryIO, now: datetime) -> None:
    """Profile, categories, tasks and log as one JSON document, with each thing on a line of its own."""
    with queries.snapshot():
        profile = show_profile(user_for(actor, actor.user_id))
        file.write(HEAD + b'"exported_at":"%s",\n' % rfc3339(now).encode())
        file.write(b'"profile":%s,\n' % msgspec.json.encode(profile))
        _write_list(file, "categories", map(_category, queries.own_categories(actor)))
        file.write(b",\n")
        _write_list(file, "tasks", map(_task, queries.own_tasks(actor)))
        file.write(b",\n")
        _write_list(file, "activity", map(show_activity_to(actor), map(as_shown, queries.own_changes(actor))))
        file.write(b"}\n")


def _write_list(file: BinaryIO, name: str, items: Iterable[Any]) -> None:
    file.write(b'"%s":[' % name.encode())
    between = b"\n"
    for item in items:
        file.write(between + msgspec.json.encode(item))
        between = b",\n"
    file.write(b"\n]")


def _category(row: tuple[Any, ...]) -> dict[str, Any]:
    id_, name, color, position, version, created_at, updated_at = as_shown(row)
    return {
        "id": id_,
        "name": name,
        "color": color,
        "position": position,
        "version": version,
        "created_at": created_at,
        "updated_at": updated_at,
    }


def _task(row: tuple[Any, ...]) -> dict[str, Any]:
    values = dict(zip(queries.TASK_COLUMNS, as_shown(row), strict=True))
    values["priority"] = PRIORITIES[values["priority"]].value
    values["due_date"] = show_due(values.pop("due_on"), values.pop("due_at"))
    values["category"] = values.pop("category_id")
    return values


def write_csv(actor: Actor, file: BinaryIO) -> None:
    """The tasks as a table (RFC 4180) that a spreadsheet opens without running anything in it."""
    # Without this mark Excel takes the file for one in the code page of the machine: Ã© for é.
    file.write(codecs.BOM_UTF8)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    with queries.snapshot():
        names = {row[0]: row[1] for row in queries.own_categories(actor)}
        writer.writerow(COLUMNS)
        for cells in _cells(map(_task, queries.own_tasks(actor)), names):
            writer.writerow(cells)
    text.flush()
    text.detach()


def _cells(tasks: Iterable[dict[str, Any]], names: dict[Any, str]) -> Iterator[list[str]]:
    for task in tasks:
        task["category"] = names.get(task["category"])
        task["tags"] = ",".join(task["tags"])
        task["reminders"] = " ".join(task["reminders"])
        yield [escaped("" if task[name] is None else str(task[name])) for name in COLUMNS]
