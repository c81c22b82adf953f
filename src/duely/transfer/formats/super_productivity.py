"""The backup of Super Productivity as JSON: tasks, projects and tags by their ids, and tasks that are in the archive.

The fields are those of `task.model.ts` in the repository super-productivity/super-productivity.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from duely.core.clock import rfc3339
from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer.formats import foreign
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import MEMBER, Document, Entry, Kind, Path
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Faulty, Rows

OF_TASK = Kind(
    "task.",
    {"timeSpent": 0, "timeEstimate": 0, "hasPlannedTime": False},
    frozenset(
        (
            *(
                "subTaskIds",
                "_hideSubTasksMode",
                "_showSubTasksMode",
                "reminderId",
                "issueWasUpdated",
                "issueProviderId",
            ),
            *("issueLastUpdated", "issueAttachmentNr", "issueTimeTracked", "issueLastSyncedValues", "hasPlannedTime"),
        )
    ),
)
OF_PROJECT = Kind(
    "project.",
    {"isArchived": False, "isHiddenFromMenu": False, "isEnableBacklog": False},
    frozenset(
        (
            *("taskIds", "backlogTaskIds", "noteIds", "theme", "advancedCfg", "workStart", "workEnd", "breakTime"),
            *("breakNr", "issueIntegrationCfgs", "icon", "isHiddenFromMenu", "isEnableBacklog", "folderId", "created"),
        )
    ),
)
OF_TAG = Kind(
    "tag.",
    {},
    frozenset(
        (
            *("taskIds", "theme", "color", "icon", "created", "modified", "advancedCfg", "workStart", "workEnd"),
            *("breakTime", "breakNr"),
        )
    ),
)
OF_RULE = Kind("taskRepeatCfg.")
ABOUT_THE_FILE = ("timestamp", "lastUpdate", "crossModelVersion", "lastLocalSyncModelChange")
OF_FILE = Kind("", {}, frozenset(ABOUT_THE_FILE))
OF_TABLE = Kind(
    "data.",
    {},
    frozenset(
        (
            *("ids", "currentTaskId", "selectedTaskId", "lastCurrentTaskId", "isDataLoaded", "taskDetailTargetPanel"),
            *("__modelVersion", "MODEL_VERSION", "stateBefore"),
        )
    ),
)
CONTAINER = Kind(
    "data.",
    {},
    frozenset(
        (
            *(
                "globalConfig",
                "reminders",
                "planner",
                "boards",
                "menuTree",
                "pluginUserData",
                "pluginMetadata",
                "metric",
            ),
            *("issueProvider", "timeTracking", "improvement", "obstruction"),
            *ABOUT_THE_FILE,
        )
    ),
)
VIRTUAL_TAGS = frozenset({"TODAY", "NO_LIST", "UNLISTED"})
"""Tags that are views of the program's own."""
INBOX = {"INBOX_PROJECT": "Inbox", "INBOX": "Inbox", "DEFAULT": "Super Productivity"}
PRIORITIES = {1: "low", 2: "medium", 3: "high", "low": "low", "medium": "medium", "high": "high"}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TASKS, _PROJECTS, _TAGS, _RULES = "task", "project", "tag", "taskRepeatCfg"


def _kinds(root: Path) -> dict[Path, Kind]:
    """Where the records are: below `data` in a backup of today, in the document itself in older ones."""
    entities = ("entities", MEMBER)
    tables = (
        (_TASKS,),
        (_PROJECTS,),
        (_TAGS,),
        (_RULES,),
        ("archiveYoung", "task"),
        ("archiveOld", "task"),
        ("taskArchive",),
    )
    return {
        (): OF_FILE,
        root: CONTAINER,
        **{(*root, *table): OF_TABLE for table in tables},
        (*root, _TASKS, *entities): OF_TASK,
        (*root, "archiveYoung", "task", *entities): OF_TASK,
        (*root, "archiveOld", "task", *entities): OF_TASK,
        (*root, "taskArchive", *entities): OF_TASK,
        (*root, _PROJECTS, *entities): OF_PROJECT,
        (*root, _TAGS, *entities): OF_TAG,
        (*root, _RULES, *entities): OF_RULE,
    }


def recognises(outline: Outline) -> bool:
    """An object with the entities of tasks and projects."""
    return outline.kind == "object" and any(
        outline.has(f"{root}task.entities", f"{root}project") for root in ("", "data.")
    )


OLD, NEW = _kinds(()), _kinds(("data",))


class _Index:
    """What tasks refer to, by id. Held in memory, up to a length together."""

    def __init__(self, kinds: Mapping[Path, Kind]) -> None:
        self._kinds = kinds
        room = foreign.Room()
        self.projects = foreign.References(room)
        self.tags = foreign.References(room)
        self.rules = foreign.References(room)
        self.titles = foreign.References(room)

    def add(self, entry: Entry) -> None:
        """Take what one record says."""
        record, key = entry.record, entry.keys[-1] if entry.keys else ""
        kind = self._kinds[entry.path]
        if kind is OF_TASK:
            self.titles.add(key, foreign.parent_title(record.text("title")), record.place)
        elif kind is OF_PROJECT:
            _take_id(record, key)
            self.projects.add(key, record.text("title"), record.place)
        elif kind is OF_TAG:
            _take_id(record, key)
            title = record.text("title")
            if key in VIRTUAL_TAGS:
                record.note("title", "internal", title)
            else:
                self.tags.add(key, title, record.place)
        elif kind is OF_RULE:
            _take_id(record, key)
            days = [day for day in DAYS if record.flag(day)]
            on = f" ({', '.join(days)})" if days else ""
            every, cycle = record.text("repeatEvery") or "1", record.text("repeatCycle").lower()
            self.rules.add(key, f"every {every} {cycle}{on}", record.place)

    def note_unused(self, reading: Reading) -> None:
        """Note the names that no task has."""
        self.projects.note_unused(reading, "project.title")
        self.tags.note_unused(reading, "tag.title")
        self.rules.note_unused(reading, "taskRepeatCfg")


def _take_id(record: Record, key: str) -> None:
    """The id of a record, which is the name that it has in its table. Another one is noted."""
    if (identifier := record.text("id")) not in (key, ""):
        record.note("id", "left_out", identifier)


def read(source: Source, reading: Reading) -> Rows:
    """The rows of a backup: a project becomes a category. Tasks in the archive come too."""
    kinds = NEW if source.outline.has("data.task") else OLD
    with source.only() as file:
        index = _Index(kinds)
        for entry in Document(file, reading.check).records(kinds, Reading(reading.check)):
            if isinstance(entry, Entry):
                index.add(entry)
        again, categories = _Index(kinds), foreign.Categories()
        for entry in Document(file, reading.check).records(kinds, reading):
            if isinstance(entry, Faulty):
                yield entry
            elif kinds[entry.path] is OF_TASK:
                yield from _task(entry, index, categories, source.zone, reading)
            else:
                again.add(entry)
        index.note_unused(reading)


def _task(
    entry: Entry, index: _Index, categories: foreign.Categories, zone: str, reading: Reading
) -> Iterator[IncomingCategory | IncomingTask | Faulty]:
    record, key = entry.record, entry.keys[-1]
    _take_id(record, key)
    task = foreign.Draft(record, reading, record.text("title"), "title")
    task.describe(record.text("notes"))
    task.fields["status"] = "completed" if record.flag("isDone") else "pending"
    priority = record.take("priority")
    task.fields["priority"] = "medium"
    if isinstance(priority, int | str) and not isinstance(priority, bool) and priority in PRIORITIES:
        task.fields["priority"] = PRIORITIES[priority]
    elif priority is not None:
        record.note("priority", "not_understood", priority)
    project = record.text("projectId")
    default = "" if index.projects.has(project) else INBOX.get(project, "")
    name = default or index.projects.use(record, "projectId", project)
    category, new = categories.named(record, name, "projectId")
    yield from new
    tags = record.texts("tagIds")
    task.tag([index.tags.use(record, "tagIds", tag) for tag in tags if tag not in VIRTUAL_TAGS], "tagIds")
    for tag in sorted(VIRTUAL_TAGS.intersection(tags)):
        record.note("tagIds", "internal", tag)
    _set_dates(task, record, zone)
    for name, label in (("timeEstimate", "Time estimate"), ("timeSpent", "Time spent")):
        if milliseconds := record.number(name):
            task.say(label, f"{milliseconds // 60_000} minutes", name)
    task.say("Repeats", index.rules.use(record, "repeatCfgId", record.text("repeatCfgId")), "repeatCfgId")
    task.say("Part of", index.titles.use(record, "parentId", record.text("parentId")), "parentId")
    if issue := record.text("issueId"):
        task.say("Issue", f"{record.text('issueType')} {issue}", "issueId")
    for attachment in record.records("attachments", frozenset({"id", "type", "icon"})):
        name, target = foreign.plain(attachment.text("title")), attachment.text("path")
        task.say("Attachment", f"[{name}]({target})" if name else target, "attachments")
        attachment.finish()
    yield task.finished(f"super productivity {key}", category, follows=True)


def _set_dates(task: foreign.Draft, record: Record, zone: str) -> None:
    task.at("created_at", _instant(record, "created"), "UTC", "created")
    task.at("updated_at", _instant(record, "modified"), "UTC", "modified")
    task.at("completed_at", _instant(record, "doneOn"), "UTC", "doneOn")
    # The first one that is given is the due date, as the program has it.
    dates = [
        *(("dueWithTime", _instant(record, "dueWithTime")), ("dueDay", record.text("dueDay"))),
        *(("plannedAt", _instant(record, "plannedAt")), ("deadlineWithTime", _instant(record, "deadlineWithTime"))),
        ("deadlineDay", record.text("deadlineDay")),
    ]
    given = [(name, text) for name, text in dates if text]
    for place, (name, text) in enumerate(given):
        if place == 0:
            task.due(text, zone, name)
        elif text != given[0][1]:
            task.say("Deadline" if name.startswith("deadline") else "Planned", text, name)
    for name in ("remindAt", "deadlineRemindAt"):
        if text := _instant(record, name):
            task.remind(text, "UTC", name)


def _instant(record: Record, name: str) -> str:
    """Milliseconds since 1970 as an instant; a text as it is."""
    value = record.values.get(name)
    text = record.text(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return text
    try:
        return rfc3339(datetime.fromtimestamp(value / 1000, UTC)) if value else ""
    except (OverflowError, ValueError, OSError):
        return text


FORMAT = Format("super_productivity", "Super Productivity", "the backup as JSON", recognises, read)
