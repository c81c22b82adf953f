"""Reads of tasks and categories."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain, pairwise
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import BooleanField, Count, Func, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.db.models.sql.datastructures import BaseTable

from duely.accounts.models import User
from duely.core.actor import Actor
from duely.database.compiled import Row, Seen, model_columns
from duely.database.statements import row_of
from duely.tasks import search
from duely.tasks.models import (
    IN_TRASH,
    LIVE,
    OPEN_TASKS,
    OUTDATED,
    UNPASSED,
    Category,
    Reminder,
    StaleWords,
    Task,
    TaskWords,
)
from duely.tasks.quick import Understood, category_names, understand
from duely.tasks.rules import CLOSED, PRIORITIES, TRASH_DAYS, Status, last_days, start_of_day
from duely.tasks.search import Term


def any_tasks() -> bool:
    """Whether there is any task at all, in anyone's hands or in the trash."""
    return Task.objects.exists()


TASK_COLUMNS = (
    "id",
    "owner_id",
    "title",
    "description",
    "status",
    "completed_at",
    "priority",
    "due_on",
    "due_at",
    "category_id",
    "tags",
    "reminders",
    "version",
    "created_at",
    "updated_at",
    "deleted_at",
)
"""Of a task, what clients see, in this order."""


def all_tasks() -> QuerySet[Task]:
    """Everyone's tasks, those in the trash too."""
    return Task.objects.all()


def seen_tasks(actor: Actor) -> Seen:
    """The tasks that this actor may see, without those in the trash."""
    return Seen(all_tasks, (LIVE,) if actor.sees_all else (LIVE, ("owner_id", actor.user_id)))


def seen_trash(actor: Actor) -> Seen:
    """The tasks in the trash that this actor may see."""
    return Seen(all_tasks, (IN_TRASH,) if actor.sees_all else (IN_TRASH, ("owner_id", actor.user_id)))


def seen_task(actor: Actor, task_id: UUID) -> Row | None:
    """TASK_COLUMNS of one of the tasks that this actor may see, instants as answers show them."""
    found = seen_tasks(actor).select((("pk", task_id),), "one", _columns, shown=len(TASK_COLUMNS))
    return found[0] if found else None


def _columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    return tasks.values_list(*TASK_COLUMNS)  # allow: user_text_in_query because the names are above


def descriptions(ids: Collection[UUID]) -> dict[UUID, str]:
    """The descriptions of these tasks, whoever has them: for answers that their owner was given before."""
    return dict(Task.objects.filter(pk__in=ids).values_list("pk", "description"))


def unlocked_task(actor: Actor, task_id: UUID) -> Task | None:
    """One of the tasks that this actor may see, which others may change meanwhile."""
    found = seen_tasks(actor).select((("pk", task_id),), "unlocked", _all_columns)
    return _task_of(found[0]) if found else None


def locked_task(actor: Actor, task_id: UUID) -> Task | None:
    """One of the tasks that this actor may see, with `zone`, its owner's time zone: the task and its owner locked."""
    found = seen_tasks(actor).select((("pk", task_id),), "locked", _locked_columns)
    if not found:
        return None
    *values, zone = found[0]
    task = _task_of(values)
    task.zone = zone  # type: ignore[attr-defined]
    return task


def _task_of(values: Sequence[Any]) -> Task:
    columns = dict(zip(_COLUMNS, values, strict=True))
    columns |= {name: UUID(columns[name]) for name in ("id", "owner_id", "category_id") if columns[name]}
    return row_of(Task, columns, is_stored=True)


def with_locked_zone(tasks: QuerySet[Task]) -> QuerySet[Any]:
    """Adds `zone`, the time zone of each one's owner: the tasks and their owners are locked."""
    owner = User.objects.select_for_update(no_key=True).filter(pk=OuterRef("owner_id")).values("time_zone")
    return tasks.annotate(zone=Subquery(owner)).select_for_update(no_key=True)


def _all_columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    return tasks.values_list(*_COLUMNS)  # allow: user_text_in_query because the names are the model's


def _locked_columns(tasks: QuerySet[Task]) -> QuerySet[Any]:
    found = with_locked_zone(tasks)
    return found.values_list(*_COLUMNS, "zone")  # allow: user_text_in_query because the names are the model's


_COLUMNS = model_columns(Task)


def own_tasks(actor: Actor, made_by: datetime, limit: int) -> QuerySet[Task]:
    """The first so many of the actor's own tasks that were made by then, without those in the trash, locked."""
    _need_transaction()
    mine = Task.objects.filter(LIVE, owner_id=actor.user_id, created_at__lte=made_by)
    # The oldest come from an index. To sort all by their ids, the order of locks, would read all of them each time.
    oldest = mine.order_by("created_at", "id").values("pk")[:limit]
    return for_the_log(mine.filter(pk__in=oldest)).order_by("id").select_for_update(no_key=True)


def own_trash(actor: Actor, deleted_by: datetime, limit: int) -> QuerySet[Task]:
    """The first so many of the actor's own tasks that went to the trash by then, locked."""
    _need_transaction()
    mine = Task.objects.filter(IN_TRASH, owner_id=actor.user_id, deleted_at__lte=deleted_by)
    oldest = mine.order_by("deleted_at", "id").values("pk")[:limit]
    return for_the_log(mine.filter(pk__in=oldest)).order_by("id").select_for_update()


def stored_by(owner_id: UUID) -> dict[str, int]:
    """How many tasks and categories an owner has, counted one by one, by their names among the quotas."""
    return {
        "tasks": Task.objects.filter(owner_id=owner_id).count(),
        "categories": Category.objects.filter(owner_id=owner_id).count(),
    }


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of someone's tasks. `days` are the last days with what was completed on each, the oldest first."""

    statuses: Mapping[str, int]
    priorities: Mapping[int, int]
    categories: Mapping[UUID | None, int]
    overdue: int
    due_today: int
    days: Mapping[date, int]


def own_stats(actor: Actor, now: datetime) -> Stats:
    """Of the actor's own tasks, without those in the trash; days are those of their time zone. One statement."""
    days = last_days(now, actor.zone, STATS_DAYS)
    starts = [start_of_day(day, actor.zone) for day in (*days, days[-1] + timedelta(days=1))]
    spans = [(number, *map(_instant, span)) for number, span in enumerate(pairwise(starts))]
    today, morrow, at = _instant(starts[-2]), _instant(starts[-1]), _instant(now)
    moment = "%s::timestamptz" if connection.vendor == "postgresql" else "%s"
    sql = _STATS.format(days=", ".join([f"(%s, {moment}, {moment})"] * len(days)))
    values = (_KEY.get_db_prep_value(actor.user_id, connection), _instant(starts[0]), *chain.from_iterable(spans))
    counted: dict[str, dict[Any, int]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(sql, (*values, at, today, morrow))
        for kind, name, number in cursor.fetchall():
            counted[kind][name] = number
    return Stats(
        statuses={status.value: counted["status"].get(status.value, 0) for status in Status},
        priorities={rank: counted["priority"].get(str(rank), 0) for rank in PRIORITIES},
        categories={UUID(name) if name else None: number for name, number in counted["category"].items()},
        overdue=counted["overdue"][None],
        due_today=counted["due_today"][None],
        days={day: counted["completed"].get(str(number), 0) for number, day in enumerate(days)},
    )


_STATS = """
    WITH mine AS (
        SELECT status, priority, category_id, due_at, completed_at FROM tasks_task
        WHERE owner_id = %s AND deleted_at IS NULL
    ), lately AS (SELECT completed_at FROM mine WHERE completed_at >= %s),
    days (number, start, finish) AS (VALUES {days})
    SELECT 'status', status, count(*) FROM mine GROUP BY status
    UNION ALL SELECT 'priority', CAST(priority AS text), count(*) FROM mine GROUP BY priority
    UNION ALL SELECT 'category', CAST(category_id AS text), count(*) FROM mine GROUP BY category_id
    UNION ALL SELECT 'completed', CAST(number AS text), count(*) FROM days JOIN lately
        ON completed_at >= start AND completed_at < finish GROUP BY number
    UNION ALL SELECT 'overdue', NULL, count(*) FROM mine
        WHERE status = 'overdue' OR (status IN ('pending', 'in_progress') AND due_at <= %s)
    UNION ALL SELECT 'due_today', NULL, count(*) FROM mine
        WHERE status IN ('pending', 'in_progress', 'overdue') AND due_at >= %s AND due_at < %s"""
STATS_DAYS = 30


def _instant(at: datetime) -> Any:
    return Task._meta.get_field("created_at").get_db_prep_value(at, connection)


def understood(actor: Actor, text: str, now: datetime) -> Understood:
    """The task that a line of text stands for, with the actor's own categories and in their time zone."""
    names = {name for each in category_names(text).values() for _, name in each}
    mine = Category.objects.filter(owner_id=actor.user_id, name_key__in=names) if names else Category.objects.none()
    return understand(text, dict(mine.values_list("name_key", "id")), now, actor.zone)


def ids_taken(kind: type[Task | Category], ids: Collection[UUID], actor: Actor) -> frozenset[UUID]:
    """Those of these ids that things of others have."""
    others = kind._default_manager.filter(pk__in=ids).exclude(owner_id=actor.user_id)
    return frozenset(others.values_list("pk", flat=True)) if ids else frozenset()


def own_category_ids(actor: Actor, texts: Sequence[str]) -> list[UUID]:
    """Those of the actor's own categories whose ids are among these texts."""
    return list(Category.objects.filter(owner_id=actor.user_id, pk__in=texts).values_list("pk", flat=True))


def all_categories() -> QuerySet[Any]:
    """Everyone's categories, each with its `task_count`."""
    return with_task_count(Category.objects.all())


def seen_categories(actor: Actor) -> Seen:
    """The categories that this actor may see."""
    return Seen(all_categories, () if actor.sees_all else (("owner_id", actor.user_id),))


def with_task_count(categories: QuerySet[Category]) -> QuerySet[Any]:
    """Adds `task_count`: the tasks in each that are not in the trash."""
    inside = Task.objects.filter(LIVE, category=OuterRef("pk")).order_by().values("category")
    counted = inside.annotate(number=Count("*")).values("number")
    return categories.annotate(task_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0))


FEW = 1_500
"""Up to so many finds are looked up and put in order. Of more, the first ones are met soon in the order of the list."""
FEWER = 400
"""Up to so many, SQLite looks up one by one. Of more it makes a set, and walks through the tasks to a page's end."""
DENSE, NEWEST = 8, 250
"""So many finds among so many of the newest tasks tell that there are many, without a look at the index of words."""


def found_tasks(tasks: QuerySet[Task], *, actor: Actor, terms: Sequence[Term], counted: bool) -> QuerySet[Task]:
    """Those of these tasks that a search finds, among what the actor may see.

    One statement finds a few. If that is all, the tasks are theirs; else each task is asked in its turn, to the end of
    the page. counted: all of them will be counted, so that asking each would take long.
    """
    scope = None if actor.sees_all else search.scope_of(actor.user_id)
    if all(term.is_excluded for term in terms):
        return tasks.filter(_asked(terms, scope))
    if counted:
        return tasks.filter(_among_all(terms, scope))
    few = _few(actor, terms, scope)
    if few is None:
        return tasks.filter(_asked(terms, scope))
    if connection.vendor == "postgresql":
        return tasks.filter(OfTask("{id} = ANY (%s)", few))
    ids = json.dumps(few)
    if len(few) > FEWER:
        return tasks.filter(OfTask("{id} IN (SELECT value FROM json_each(%s))", ids))
    return _by_row(tasks.filter(OfTask(_ROWS, ids)))


class OfTask(Func):
    """A condition on the id of a task, as SQL with `{id}` in it."""

    output_field = BooleanField()

    def __init__(self, sql: str, *values: Any) -> None:
        super().__init__("pk")
        self.sql, self.values = sql, values

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, tuple[Any, ...]]:
        """The id's column is put into the text; the values go to the driver."""
        column, params = compiler.compile(self.source_expressions[0])
        return self.sql.format(id=column), (*params, *self.values)


_ROWS = "tasks_task.rowid IN (SELECT rowid FROM tasks_task WHERE id IN (SELECT value FROM json_each(%s)))"
_FOUND = "FROM tasks_words WHERE words @@ %s::tsquery"
_FOUND_BY_FTS5 = "FROM tasks_search s JOIN tasks_words w ON w.id = s.rowid WHERE tasks_search MATCH %s"
# One row without an id tells that there are many.
_FEW = """
    WITH newest AS (
        SELECT id FROM tasks_task WHERE deleted_at IS NULL {mine} ORDER BY created_at DESC, id DESC LIMIT %s
    ), dense AS (SELECT count(*) >= %s AS is_so FROM newest WHERE {asked})
    SELECT NULL AS task_id WHERE (SELECT is_so FROM dense)
    UNION ALL SELECT * FROM (SELECT task_id {found} AND NOT (SELECT is_so FROM dense) LIMIT %s) found"""


def _few(actor: Actor, terms: Sequence[Term], scope: str | None) -> list[Any] | None:
    """The ids of all finds, as the database has them; None when there are many."""
    asked = _asked(terms, scope)
    mine, owner = ("", []) if actor.sees_all else ("AND owner_id = %s", [_KEY.get_db_prep_value(actor.id, connection)])
    found, wanted = _index(terms, scope)
    sql = _FEW.format(mine=mine, asked=asked.sql.format(id="newest.id"), found=found)
    with connection.cursor() as cursor:
        cursor.execute(sql, [*owner, NEWEST, DENSE, *asked.values, wanted, FEW + 1])
        ids = [task_id for (task_id,) in cursor.fetchall()]
    return None if None in ids or len(ids) > FEW else ids


_KEY: Any = Task._meta.pk


def _index(terms: Sequence[Term], scope: str | None) -> tuple[str, str]:
    """Where the database finds the terms, and the value for that."""
    if connection.vendor == "postgresql":
        return _FOUND, search.tsquery(terms, scope)
    return _FOUND_BY_FTS5, search.fts5(terms, scope)


def _among_all(terms: Sequence[Term], scope: str | None) -> OfTask:
    found, wanted = _index(terms, scope)
    return OfTask(f"{{id}} IN (SELECT task_id {found})", wanted)


def _asked(terms: Sequence[Term], scope: str | None) -> OfTask:
    """Whether a task's words are found, without the index."""
    if connection.vendor == "postgresql":
        sql = "(SELECT words @@ %s::tsquery FROM tasks_words WHERE task_id = {id})"
        return OfTask(sql, search.tsquery(terms, scope))
    tests = " AND ".join(f"instr(' ' || words || ' ', %s) {'=' if term.is_excluded else '>'} 0" for term in terms)
    sql = f"EXISTS (SELECT 1 FROM tasks_words WHERE task_id = {{id}} AND {tests})"  # noqa: S608
    return OfTask(sql, *map(search.needle, terms))


def _by_row(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """The same, with the rows looked up by their numbers.

    SQLite knows nothing of how many tasks an owner has. Else it would walk through all, in the order of the list.
    """
    query = tasks.query
    alias = query.get_initial_alias()
    query.alias_map[alias] = _NotIndexed(query.alias_map[alias].table_name, alias)
    return tasks


class _NotIndexed(BaseTable):
    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, params = super().as_sql(compiler, connection)
        return f"{sql} NOT INDEXED", params


@dataclass(frozen=True, slots=True)
class DueReminder:
    """A reminder whose time has come. `is_wanted`: its task is neither finished, given up nor in the trash."""

    id: UUID
    task_id: UUID
    owner_id: UUID
    remind_at: datetime
    is_wanted: bool


def next_reminders(now: datetime, limit: int, *, passing_over: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
    """(id, owner) of reminders whose time has come, the longest due first, but for those of some owners.

    Read without locks, so that a scan past many reminders of one owner keeps nobody waiting.
    """
    rows = Reminder.objects.filter(UNPASSED, remind_at__lte=now).exclude(owner_id__in=passing_over)
    return list(rows.order_by("remind_at", "id").values_list("id", "owner_id")[:limit])


def due_reminders(now: datetime, limit: int, *, among: Collection[UUID] | None = None) -> list[DueReminder]:
    """Reminders to send or to drop, the longest due first, locked until the caller's transaction ends.

    Those that another transaction is busy with are left out. Call `actions.pass_reminders` in the same transaction.
    among: ids; None for all reminders.
    """
    _need_transaction()
    wanted = Q() if among is None else Q(pk__in=among)
    found = (
        Reminder.objects.select_for_update(of=("self",), skip_locked=True, no_key=True)
        .select_related("task")
        .only("task", "owner_id", "remind_at", "task__status", "task__deleted_at")
        .filter(wanted, UNPASSED, remind_at__lte=now)
        .order_by("remind_at", "id")[:limit]
    )
    return [
        DueReminder(
            id=row.id,
            task_id=row.task_id,
            owner_id=row.owner_id,
            remind_at=row.remind_at,
            is_wanted=row.task.deleted_at is None and row.task.status not in CLOSED,
        )
        for row in found
    ]


def late_tasks(now: datetime, limit: int) -> QuerySet[Task]:
    """Open tasks past their due date, the longest late first, locked but for those that others have locked."""
    _need_transaction()
    late = Task.objects.filter(OPEN_TASKS, due_at__lte=now).order_by("due_at", "id")
    return for_the_log(late).select_for_update(skip_locked=True, no_key=True)[:limit]


def old_trash(now: datetime, limit: int) -> QuerySet[Task]:
    """Tasks that have been in the trash for too long, the oldest first, locked as in `late_tasks`."""
    _need_transaction()
    old = Task.objects.filter(deleted_at__lt=now - timedelta(days=TRASH_DAYS)).order_by("deleted_at", "id")
    return for_the_log(old).select_for_update(skip_locked=True)[:limit]


def tasks_with_stale_words(limit: int) -> list[UUID]:
    """The ids of tasks that a search does not find by their text, and of those whose words have an older format."""
    ids: list[UUID] = list(StaleWords.objects.order_by("task_id").values_list("task_id", flat=True)[:limit])
    if len(ids) < limit:
        outdated = TaskWords.objects.filter(OUTDATED).order_by("task_id")
        ids += outdated.values_list("task_id", flat=True)[: limit - len(ids)]
    return ids


def locked_texts(ids: Sequence[UUID]) -> QuerySet[Task]:
    """What a search looks at in these tasks, locked as in `late_tasks`."""
    _need_transaction()
    tasks = Task.objects.filter(pk__in=ids).only("owner_id", "title", "description").order_by("id")
    return tasks.select_for_update(skip_locked=True, no_key=True)


def for_the_log(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Only what a sweep writes into the log of each: descriptions are long."""
    return tasks.only("owner_id", "title", "status", "former_status")


class BoundToZone(NamedTuple):
    """What hangs on an owner's time zone: the days of all-day tasks, and waiting reminders. Or there are many."""

    days: list[date]
    has_reminders: bool
    has_many: bool


def bound_to_zone(owner_id: UUID, few: int) -> BoundToZone:
    """What hangs on the owner's time zone. Reads at most `few` tasks and reminders, and one more of each.

    One statement, because most who move have neither.
    """
    key = _KEY.get_db_prep_value(owner_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(_BOUND_TO_ZONE, [key, few + 1, key, few + 1])
        rows = [day for (day,) in cursor.fetchall()]
    days = [day for day in rows if day is not None]
    reminders = len(rows) - len(days)
    distinct = {day if isinstance(day, date) else date.fromisoformat(day) for day in days}
    return BoundToZone(sorted(distinct), reminders > 0, max(len(days), reminders) > few)


_BOUND_TO_ZONE = """
    SELECT due_on FROM (SELECT due_on FROM tasks_task WHERE owner_id = %s AND due_on IS NOT NULL LIMIT %s) days
    UNION ALL SELECT NULL FROM (
        SELECT 1 FROM tasks_reminder WHERE owner_id = %s AND passed_at IS NULL LIMIT %s) waiting"""


class DayTask(NamedTuple):
    """What a new time zone may change of an all-day task, or depends on."""

    id: UUID
    due_on: date
    due_at: datetime
    status: str
    deleted_at: datetime | None


def following_days(owner_id: UUID, after: tuple[date, UUID] | None, limit: int) -> list[DayTask]:
    """The owner's all-day tasks behind this day and id, also those in the trash, locked. All of the same day at first.

    Empty at the end.
    """
    _need_transaction()
    mine = Task.objects.filter(owner_id=owner_id, due_on__isnull=False).order_by("due_on", "id")
    locked = mine.select_for_update(no_key=True)
    rows: QuerySet[Any, Any] = locked.values_list("id", "due_on", "due_at", "status", "deleted_at")
    if after is None:
        return [DayTask(*row) for row in rows[:limit]]
    day, task_id = after
    # Two ranges of the index, one after the other. With OR each call would pass the tasks of the day before it again.
    found = rows.filter(due_on=day, id__gt=task_id)[:limit] or rows.filter(due_on__gt=day)[:limit]
    return [DayTask(*row) for row in found]


def following_reminders(owner_id: UUID, after: tuple[datetime, UUID] | None, limit: int) -> list[Reminder]:
    """The owner's waiting reminders behind this time and id, locked, with `due_at` of their tasks. Empty at the end."""
    _need_transaction()
    waiting = Reminder.objects.filter(UNPASSED, owner_id=owner_id).order_by("remind_at", "id")
    rows = waiting.select_related("task").only("text", "remind_at", "owner_id", "task__due_at")
    rows = rows.select_for_update(of=("self",), no_key=True)
    if after is None:
        return list(rows[:limit])
    at, reminder_id = after
    return list(rows.filter(remind_at=at, id__gt=reminder_id)[:limit] or rows.filter(remind_at__gt=at)[:limit])


def _need_transaction() -> None:
    """SQLite locks nothing by itself, so Django would let this pass there."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("rows are locked for a transaction")
