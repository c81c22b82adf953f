"""Microsoft To Do as JSON: the lists with their tasks, as Microsoft Graph has them (`todoTaskList`, `todoTask`).

Microsoft exports no file of its own. Tools that do write the answers of Graph: a list of lists, or an object with the
lists in `value`, each with its `tasks`. What Outlook exports as CSV is read as any other table.
"""

from datetime import UTC
from zoneinfo import ZoneInfo

from duely.accounts.rules import time_zone_fault
from duely.core.clock import parse_instant
from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.formats import foreign
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import ITEM, Document, Kind
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Faulty, Rows, at_text

OF_LIST = Kind(
    "list.",
    {"isOwner": True, "isShared": False, "wellknownListName": "none", "wellKnownListName": "none"},
    frozenset(
        {"id", "@odata.etag", "wellknownListName", "wellKnownListName", "tasks@odata.context", "isOwner", "isShared"}
    ),
)
OF_TASK = Kind(
    "task.",
    {"hasAttachments": False},
    frozenset({"@odata.etag", "bodyLastModifiedDateTime", "checklistItems@odata.context"}),
)
AS_LIST = {(ITEM,): OF_LIST, (ITEM, "tasks", ITEM): OF_TASK}
AS_ANSWER = {
    (): Kind("", {}, frozenset({"@odata.context", "@odata.nextLink", "@odata.count"})),
    ("value", ITEM): OF_LIST,
    ("value", ITEM, "tasks", ITEM): OF_TASK,
}
STATUSES = {
    "notStarted": "pending",
    "inProgress": "in_progress",
    "completed": "completed",
    "": "pending",
    "waitingOnOthers": "pending",
    "deferred": "pending",
}
NEARLY = frozenset({"waitingOnOthers", "deferred"})
IMPORTANCES = {"low": "low", "normal": "medium", "high": "high", "": "medium"}
RANGES = frozenset({"endDate", "noEnd", "numbered", ""})
OF_CHECK_ITEM = frozenset({"id", "createdDateTime", "createdDatetime", "checkedDateTime", "@odata.etag"})
OF_LINK = frozenset({"id", "externalId", "applicationName", "@odata.etag"})


def recognises(outline: Outline) -> bool:
    """Lists with a display name, and tasks in them."""
    at = "[]" if outline.kind == "list" else "value[]"
    return outline.has(f"{at}.displayName") and outline.has(f"{at}.tasks")


def read(source: Source, reading: Reading) -> Rows:
    """The rows of all lists: a list becomes a category."""
    with source.only() as file:
        document = Document(file, reading.check)
        kinds = AS_LIST if document.peek() == "[" else AS_ANSWER
        for entry in document.records(kinds, reading, "lists" if kinds is AS_LIST else ""):
            if isinstance(entry, Faulty):
                yield entry
            elif entry.path[-2:] == ("tasks", ITEM):
                yield _task(entry.record, entry.keys[0], source.zone, reading)
            elif entry.path:
                name = foreign.category_name(entry.record, entry.record.text("displayName"), "displayName")
                yield IncomingCategory(entry.keys[0], {"name": name or foreign.NAMELESS})


def _task(record: Record, category: str, zone: str, reading: Reading) -> IncomingTask | Faulty:
    task = foreign.Draft(record, reading, record.text("title"), "title")
    identifier = record.text("id")
    _set_words(task, record)
    body = record.record("body")
    content = body.text("content")
    content_type = body.text("contentType")
    task.describe(foreign.text_of_html(body, "content") if content_type == "html" else content)
    if content_type not in ("html", "text", ""):
        body.note("contentType", "not_understood", content_type)
    body.finish()
    task.tag(record.texts("categories"), "categories")
    for name, field in (("created_at", "createdDateTime"), ("updated_at", "lastModifiedDateTime")):
        task.at(name, record.text(field), "UTC", field)
    task.due(_day(record, "dueDateTime", zone), zone, "dueDateTime")
    task.say("Start", _day(record, "startDateTime", zone), "startDateTime")
    if completed := _instant(record, "completedDateTime", zone):
        task.at("completed_at", completed, zone, "completedDateTime")
    is_on = record.flag("isReminderOn") if "isReminderOn" in record.values else True
    if (reminder := _instant(record, "reminderDateTime", zone)) and is_on:
        task.remind(reminder, zone, "reminderDateTime")
    elif reminder:
        record.note("reminderDateTime", "left_out", reminder)
    if record.values.get("recurrence"):
        task.say("Repeats", _rule(record.record("recurrence")), "recurrence")
    task.describe(foreign.check_list(record, "checklistItems", "displayName", "isChecked", OF_CHECK_ITEM))
    for link in record.records("linkedResources", OF_LINK):
        name, url = foreign.plain(link.text("displayName")), link.text("webUrl")
        task.say("Link", f"[{name}]({url})" if url else name, "linkedResources")
        link.finish()
    return task.finished(f"microsoft to do {identifier or record.place}", category, follows=bool(identifier))


def _set_words(task: foreign.Draft, record: Record) -> None:
    status, importance = record.text("status"), record.text("importance")
    task.fields["status"] = STATUSES.get(status, "pending")
    task.fields["priority"] = IMPORTANCES.get(importance, "medium")
    if status in NEARLY:
        record.note("status", "changed", status)
    elif status not in STATUSES:
        task.say("Status", status, "status")
    if importance not in IMPORTANCES:
        task.say("Importance", importance, "importance")


def _instant(record: Record, name: str, zone: str) -> str:
    """A `dateTimeTimeZone` as an instant; as it is where it is none."""
    moment = record.record(name)
    text, own_zone = moment.text("dateTime"), moment.text("timeZone")
    moment.finish()
    if own_zone and time_zone_fault(own_zone) is not None:
        record.note(f"{name}.timeZone", "not_understood", own_zone)
        own_zone = ""
    return (at_text(text, own_zone or zone) or text) if text else ""


def _day(record: Record, name: str, zone: str) -> str:
    """The day of a date, which has no time in Microsoft To Do: midnight in its zone, or where it was entered."""
    raw = record.values.get(name)
    instant = _instant(record, name, zone)
    written = raw.get("dateTime") if isinstance(raw, dict) else None
    if isinstance(written, str) and written[10:19] == "T00:00:00":
        return written[:10]
    if not instant or at_text(instant, zone) is None:
        return instant
    return parse_instant(instant).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date().isoformat()


def _rule(recurrence: Record) -> str:
    """A `patternedRecurrence` in words: `every 2 weekly, monday, friday, from 2027-01-04`."""
    pattern = recurrence.record("pattern", frozenset({"firstDayOfWeek"}))
    period = recurrence.record("range", frozenset({"recurrenceTimeZone"}))
    words = [f"every {pattern.text('interval') or '1'} {pattern.text('type')}", *pattern.texts("daysOfWeek")]
    for name in ("dayOfMonth", "month"):
        if number := pattern.number(name):
            words.append(f"{name} {number}")
    if index := pattern.text("index"):
        words.append(index)
    if (kind := period.text("type")) not in RANGES:
        period.note("type", "not_understood", kind)
    for name, label in (("startDate", "from"), ("endDate", "until")):
        if (day := period.text(name)) and not day.startswith("0001"):
            words.append(f"{label} {day}")
    if number := period.number("numberOfOccurrences"):
        words.append(f"{number} times")
    for part in (pattern, period, recurrence):
        part.finish()
    return ", ".join(words)


FORMAT = Format("microsoft_todo", "Microsoft To Do", "the lists with their tasks as JSON", recognises, read)
