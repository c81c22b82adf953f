"""Google Tasks in Google Takeout: `Tasks.json`, the lists with their tasks.

The fields are those of Google's Tasks API.
"""

from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.formats import foreign
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import ITEM, Document, Entry, Kind
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Faulty, Rows

LIST, TASK = ("items", ITEM), ("items", ITEM, "items", ITEM)
KINDS = {
    (): Kind("", {}, frozenset({"kind", "etag", "nextPageToken"})),
    LIST: Kind("list.", {}, frozenset({"kind", "id", "etag", "updated", "selfLink", "nextPageToken"})),
    TASK: Kind(
        "task.",
        {"hidden": False, "deleted": False},
        frozenset({"kind", "etag", "selfLink", "position", "hidden", "task_type", "webViewLink", "assignmentInfo"}),
    ),
}
STATUSES = {"needsAction": "pending", "completed": "completed", "": "pending"}


def recognises(outline: Outline) -> bool:
    """An object of lists with titles and tasks, which says what kind of object it is."""
    is_list = outline.has("items[].items[].title") or outline.has("items[].title", "items[].updated")
    return outline.kind == "object" and outline.has("kind") and is_list


def read(source: Source, reading: Reading) -> Rows:
    """The rows of all lists: a list becomes a category."""
    with source.only() as file:
        titles = foreign.References(foreign.Room())
        for entry in Document(file, reading.check).records(KINDS, Reading(reading.check)):
            if isinstance(entry, Entry) and entry.path == TASK:
                titles.add(entry.record.text("id"), foreign.parent_title(entry.record.text("title")), "")
        for entry in Document(file, reading.check).records(KINDS, reading):
            if isinstance(entry, Faulty):
                yield entry
            elif entry.path == TASK:
                yield from _task(entry.record, entry.keys[0], titles, source.zone, reading)
            elif entry.path == LIST:
                name = foreign.category_name(entry.record, entry.record.text("title"), "title")
                yield IncomingCategory(entry.keys[0], {"name": name or foreign.NAMELESS})


def _task(record: Record, category: str, titles: foreign.References, zone: str, reading: Reading) -> Rows:
    title, identifier = record.text("title"), record.text("id")
    if record.flag("deleted"):
        record.note("deleted", "left_out", title)
        for name in list(record.values):
            record.take(name)
        return
    task = foreign.Draft(record, reading, title, "title")
    task.describe(record.text("notes"))
    status = record.text("status")
    task.fields["status"] = STATUSES.get(status, "pending")
    if status not in STATUSES:
        task.say("Status", status, "status")
    # A due date is a day, written as the beginning of that day in UTC.
    due = record.text("due")
    task.due(due[:10] if due[10:19] == "T00:00:00" else due, zone, "due")
    task.at("completed_at", record.text("completed"), zone, "completed")
    task.at("created_at", record.text("created"), zone, "created")
    task.at("updated_at", record.text("updated"), zone, "updated")
    for link in record.records("links", frozenset({"type"})):
        name, target = foreign.plain(link.text("description")), link.text("link")
        task.say("Link", f"[{name}]({target})" if name else target, "links")
        link.finish()
    task.say("Part of", titles.use(record, "parent", record.text("parent")), "parent")
    row: IncomingTask | Faulty = task.finished(
        f"google tasks {identifier or record.place}", category, follows=bool(identifier)
    )
    yield row


FORMAT = Format(
    "google_tasks",
    "Google Tasks",
    "Tasks.json of Google Takeout, or its archive (ZIP)",
    recognises,
    read,
    member="Tasks.json",
    is_nested=True,
)
