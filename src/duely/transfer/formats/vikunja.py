"""The data export of Vikunja: an archive with `data.json`, a list of projects with their tasks."""

import re
from html import unescape
from typing import Any, BinaryIO

import msgspec

from duely.core.errors import FieldError
from duely.tasks.rules import MAX_REMINDERS, IncomingCategory, IncomingTask
from duely.transfer.formats import foreign
from duely.transfer.formats.document import Document
from duely.transfer.rules import Faulty, Reading, Rows

MEMBER = "data.json"
PRIORITIES = {0: "medium", 1: "low", 2: "medium", 3: "high", 4: "urgent", 5: "urgent"}
NEVER = "0001-01-01T00:00:00Z"


class Label(msgspec.Struct):
    """A label of a task."""

    title: str = ""


class Reminder(msgspec.Struct):
    """When to remind; relative ones have an instant too."""

    reminder: str | None = None


class Comment(msgspec.Struct):
    """A comment on a task."""

    comment: str = ""


class Task(msgspec.Struct):
    """What is taken of a task."""

    id: int = 0
    title: str = ""
    description: str = ""
    done: bool = False
    done_at: str | None = None
    due_date: str | None = None
    priority: int = 0
    labels: list[Label] | None = None
    reminders: list[Reminder | str] | None = None
    comments: list[Comment] | None = None
    repeat_after: int = 0
    created: str | None = None
    updated: str | None = None


def read(file: BinaryIO, reading: Reading) -> Rows:
    """The rows of `data.json`. Raises MalformedRequest (400)."""
    document = Document(file)
    for number in document.items():
        yield from _project(document, number, reading)
    document.end()


def _project(document: Document, number: int, reading: Reading) -> Rows:
    named = {"title": "", "hex_color": ""}
    for name in document.fields():
        if name == "tasks":
            for place in document.items():
                yield _task(f"projects[{number}].tasks[{place}]", document.value(), str(number), reading)
        elif name in named:
            value = document.value()
            named[name] = value if isinstance(value, str) else ""
        else:
            document.skip()
    title = foreign.category_name(named["title"]) or "…"
    yield IncomingCategory(str(number), {"name": title, **_color(named["hex_color"])})


def _task(place: str, raw: Any, category: str, reading: Reading) -> IncomingTask | Faulty:
    try:
        task = msgspec.convert(raw, Task)
    except msgspec.ValidationError as fault:
        return Faulty((FieldError(place, "invalid_type", f"{fault}.".replace("`", "")),))
    if task.repeat_after:
        reading.note("tasks that come again and again were taken once")
    fields: dict[str, Any] = {
        "title": task.title,
        "status": "completed" if task.done else "pending",
        "priority": PRIORITIES.get(task.priority, "medium"),
        "tags": foreign.tags([label.title for label in task.labels or ()]),
        "reminders": list(filter(None, map(_reminder, task.reminders or ())))[:MAX_REMINDERS],
    }
    for name, text in (("due_date", task.due_date), ("created_at", task.created), ("updated_at", task.updated)):
        if _is_there(text):
            fields[name] = text
    if task.done and _is_there(task.done_at):
        fields["completed_at"] = task.done_at
    parts = [task.description, *(comment.comment for comment in task.comments or ())]
    source = f"vikunja {task.id} {task.created}" if task.id else f"vikunja {place}"
    return foreign.task(place, fields, [text_of_html(part) for part in parts], source, category)


def _reminder(reminder: Reminder | str) -> str | None:
    text = reminder if isinstance(reminder, str) else reminder.reminder
    return text if _is_there(text) else None


def _is_there(text: str | None) -> bool:
    return bool(text) and text != NEVER


def _color(text: str) -> dict[str, str]:
    digits = text.removeprefix("#").lower()
    is_one = len(digits) == 6 and all(sign in "0123456789abcdef" for sign in digits)
    return {"color": f"#{digits}"} if is_one else {}


_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)([^<>]*+)>")
_TOO_LONG = re.compile(r"&#[0-9]{8,};?")
"""A number that no character has. `unescape` would take it for one of thousands of digits."""
_ITEM = re.compile(r"^(- (?:\[[ x]\] )?)\s+(?=\S)(?!- )", re.MULTILINE)
"""The sign of an item that stands above its text."""
_CHECKED = re.compile(r'data-checked="(true|false)"')
_LINK = re.compile(r'href="([^"]*)"')
BLOCKS = frozenset({"p", "div", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "tr", "table"})


def text_of_html(html: str) -> str:
    """The text of a description, as plain Markdown. One without a tag is text already.

    Knows what Vikunja's editor writes. It makes text, not HTML: nothing in it needs to be safe.
    """
    if not _TAG.search(html):
        return html
    links: list[str] = []
    pieces: list[str] = []
    at = 0
    for tag in _TAG.finditer(html):
        pieces += [_unescaped(html[at : tag.start()]), _sign(tag, links)]
        at = tag.end()
    pieces.append(_unescaped(html[at:]))
    kept: list[str] = []
    for row in _ITEM.sub(r"\1", "".join(pieces)).split("\n"):
        if row.strip() or (kept and kept[-1]):
            kept.append(row.strip())
    return "\n".join(kept).strip()


def _unescaped(text: str) -> str:
    return unescape(_TOO_LONG.sub("\ufffd", text))


def _sign(found: re.Match[str], links: list[str]) -> str:
    """What stands for a tag in a text."""
    closes, tag, rest = found[1], found[2].lower(), found[3]
    if tag in BLOCKS or tag == "br":
        return "\n"
    if tag == "li" and not closes:
        checked = _CHECKED.search(rest)
        return "\n- " if checked is None else f"\n- [{'x' if checked[1] == 'true' else ' '}] "
    if tag == "a" and closes:
        return f"]({links.pop()})" if links else ""
    if tag == "a" and (link := _LINK.search(rest)):
        links.append(_unescaped(link[1]))
        return "["
    return ""
