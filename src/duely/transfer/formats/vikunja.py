"""The data export of Vikunja: an archive with `data.json`, a list of projects with their tasks.

The fields are those of `models.Project` and `models.Task` in the repository go-vikunja/vikunja.
"""

from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.formats import foreign
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import ITEM, Document, Kind
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Faulty, Rows

PRIORITIES = {0: "medium", 1: "low", 2: "medium", 3: "high", 4: "urgent", 5: "urgent"}
NEVER = "0001-01-01T00:00:00Z"
PROJECT, TASK = (ITEM,), (ITEM, "tasks", ITEM)
KINDS = {
    PROJECT: Kind(
        "project.",
        {"is_archived": False, "is_favorite": False, "parent_project_id": 0, "max_permission": 0},
        frozenset(
            (
                *("id", "identifier", "owner", "created", "updated", "position", "buckets", "views", "created_by"),
                *("positions", "task_buckets", "background_information", "background_blur_hash", "subscription"),
            )
        ),
    ),
    TASK: Kind(
        "task.",
        {
            "is_favorite": False,
            "percent_done": 0,
            "cover_image_attachment_id": 0,
            "bucket_id": 0,
            "done_at": NEVER,
            "start_date": NEVER,
            "end_date": NEVER,
            "due_date": NEVER,
            "repeat_mode": 0,
            "repeat_after": 0,
        },
        frozenset(
            (
                *("project_id", "list_id", "identifier", "index", "position", "kanban_position", "bucket_id", "uid"),
                *("created_by", "subscription", "reactions", "buckets"),
            )
        ),
    ),
}
OF_LABEL = frozenset({"id", "created", "updated", "created_by", "hex_color", "description"})
OF_COMMENT = frozenset({"id", "created", "updated", "author", "reactions"})
OF_REMINDER = frozenset({"relative_period", "relative_to"})
OF_RELATED = frozenset(
    (
        *(
            "id",
            "description",
            "done",
            "done_at",
            "due_date",
            "reminders",
            "priority",
            "start_date",
            "end_date",
            "labels",
        ),
        *("assignees", "hex_color", "percent_done", "repeat_after", "repeat_mode", "related_tasks", "attachments"),
        *("is_favorite", "created", "updated", "comments", "cover_image_attachment_id"),
        *KINDS[TASK].internal,
    )
)
"""A related task is in the export itself, with all of these."""
UNITS = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
OWN = ("[].identifier", "[].hex_color", "[].is_archived", "[].parent_project_id", "[].views", "[].buckets")


def recognises(outline: Outline) -> bool:
    """A list of projects with titles, whose tasks can be done; without tasks, other fields of a project."""
    if outline.kind != "list" or not outline.has("[].title"):
        return False
    if outline.has("[].tasks[]"):
        return outline.has("[].tasks[].title", "[].tasks[].done")
    return any(outline.has(name) for name in OWN)


def read(source: Source, reading: Reading) -> Rows:
    """The rows of `data.json`. Raises MalformedRequest (400)."""
    with source.only() as file:
        for entry in Document(file, reading.check).records(KINDS, reading, "projects"):
            if isinstance(entry, Faulty):
                yield entry
            elif entry.path == TASK:
                yield _task(entry.record, entry.keys[0], source.zone, reading)
            else:
                yield _project(entry.record, entry.keys[0])


def _project(record: Record, key: str) -> IncomingCategory:
    name = foreign.category_name(record, record.text("title"), "title") or foreign.NAMELESS
    return IncomingCategory(key, {"name": name, **foreign.color(record, "hex_color")})


def _task(record: Record, category: str, zone: str, reading: Reading) -> IncomingTask | Faulty:
    task = foreign.Draft(record, reading, record.text("title"), "title")
    number = record.text("id")
    is_done = record.flag("done")
    task.fields["status"] = "completed" if is_done else "pending"
    task.fields["priority"] = _priority(record)
    task.describe(foreign.text_of_html(record, "description"))
    _set_dates(task, record, zone, is_done=is_done)
    for label in record.records("labels", OF_LABEL):
        task.tag([label.text("title")], "labels")
        label.finish()
    _set_reminders(task, record, zone)
    _set_repeat(task, record)
    if share := record.take("percent_done"):
        task.say("Progress", f"{share:.0%}" if isinstance(share, int | float) else str(share), "percent_done")
    _set_relations(task, record)
    for comment in record.records("comments", OF_COMMENT):
        task.describe(foreign.text_of_html(comment, "comment"))
        comment.finish()
    created = str(record.values.get("created"))
    source = f"vikunja {number} {created}" if number else f"vikunja {record.place}"
    return task.finished(source, category, follows=bool(number))


def _priority(record: Record) -> str:
    number = record.number("priority")
    if number not in PRIORITIES:
        record.note("priority", "not_understood", number)
    return PRIORITIES.get(number, "medium")


def _date(record: Record, name: str) -> str:
    text = record.text(name)
    return "" if text == NEVER else text


def _set_dates(task: foreign.Draft, record: Record, zone: str, *, is_done: bool) -> None:
    task.due(_date(record, "due_date"), zone, "due_date")
    for name, field in (("created_at", "created"), ("updated_at", "updated")):
        task.at(name, _date(record, field), zone, field)
    done_at = _date(record, "done_at")
    if is_done:
        task.at("completed_at", done_at, zone, "done_at")
    elif done_at:
        record.note("done_at", "left_out", done_at)
    task.say("Start", _date(record, "start_date"), "start_date")
    task.say("End", _date(record, "end_date"), "end_date")


def _set_reminders(task: foreign.Draft, record: Record, zone: str) -> None:
    for item in record.items("reminders"):
        if not isinstance(item, dict | str):
            record.note("reminders", "not_understood", item)
            continue
        values = item if isinstance(item, dict) else {"reminder": item}
        reminder = record.inner("reminders", values, OF_REMINDER)
        text = _date(reminder, "reminder")
        if text:
            task.remind(text, zone, "reminders")
        reminder.finish()
    # Exports before 0.22 have a list of instants.
    for text in record.texts("reminder_dates"):
        task.remind(text, zone, "reminder_dates")


def _set_repeat(task: foreign.Draft, record: Record) -> None:
    """Duely keeps no rule for repetition: the description says it."""
    seconds, mode = record.number("repeat_after"), record.number("repeat_mode")
    if mode == 1:
        task.say("Repeats", "every month", "repeat_mode")
    elif seconds > 0:
        size, unit = next(one for one in UNITS if seconds % one[0] == 0)
        after = " after it was done" if mode == 2 else ""
        task.say("Repeats", f"every {seconds // size} {unit}{after}", "repeat_after")
    elif seconds or mode not in (0, 2):
        record.note("repeat_after", "not_understood", [seconds, mode])


def _set_relations(task: foreign.Draft, record: Record) -> None:
    relations = record.record("related_tasks")
    for kind in list(relations.values):
        if kind == "subtask":
            # The subtask says so itself.
            relations.note(kind, "internal", relations.take(kind))
            continue
        label = "Part of" if kind == "parenttask" else f"Related ({foreign.plain(kind)[:50]})"
        for other in relations.records(kind, OF_RELATED):
            title = foreign.plain(other.text("title"))
            task.say(label, title[: foreign.MAX_PARENT], f"related_tasks.{kind}")
            other.finish()


FORMAT = Format("vikunja", "Vikunja", "the export (ZIP), or data.json of it", recognises, read, member="data.json")
