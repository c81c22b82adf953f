"""What each hot operation costs must not grow with what there is: no plan of it reads a whole table or sorts it.

A new filter or ordering of the task list or of the log is looked at by itself. What has no index of its own must be
allowed below, with the reason; an allowance that is not needed fails.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from cast import Api, adam, alice, for_a_module, person, undone
from duely.accounts.models import Session, User
from duely.activity.models import Change, Counter
from duely.activity.queries import fields_of_last
from duely.activity.schemas import ACTIVITY
from duely.api.lists import Listing
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.jobs.queries import time_to_next
from duely.jobs.queue import claim, recover
from duely.jobs.registry import known
from duely.tasks.actions import mark_overdue, purge_trash
from duely.tasks.lists import TASKS
from duely.tasks.models import Category, Reminder, Task, TaskWords
from duely.tasks.queries import due_reminders
from duely.tasks.words import indexed_words, scope_of, tsvector
from plans import ANYWHERE, KEY, WHEN, faults, plans_of

ALICES, OTHERS, OF_EACH = 1500, 500, 27
STATUSES = ("pending", "in_progress", "completed", "cancelled", "overdue")
TAGS = (["home"], ["work", "phone"], [], [])
VERBS = ("Buy", "Call", "Write", "Read", "Mend", "Bring", "Ask")


@dataclass
class Filled:
    """A database with so much in it that reading all of it is never the quickest. The tasks are Alice's."""

    me: Api
    boss: Api
    task: str
    trashed: str
    category: str

    @property
    def names(self) -> dict[str, str]:
        """What queries and paths stand for."""
        return {"me": self.me.user.id, "task": self.task, "category": self.category, "trashed": self.trashed}


def fill() -> Filled:
    """Everyone's rows, an hour apart."""
    me, boss = Api(alice()), Api(adam())
    people = [person(f"person{number}") for number in range(OTHERS)]
    at = now()
    Session.objects.bulk_create(
        Session(id=new_id(), user=each, created_at=at, last_used_at=at, expires_at=at + timedelta(days=7))
        for each in people * 2
    )
    drawers = {each.id: category_of(each) for each in (me.user, *people)}
    Category.objects.bulk_create(drawers.values())
    owners = [me.user.id] * ALICES + [each.id for each in people] * OF_EACH
    random.Random(1).shuffle(owners)
    tasks = [task_of(owner, drawers[owner], number) for number, owner in enumerate(owners)]
    Task.objects.bulk_create(tasks)
    TaskWords.objects.bulk_create(map(words_of, tasks))
    numbers = {owner: itertools.count(1) for owner in drawers}
    Change.objects.bulk_create(change_of(task, next(numbers[task.owner_id])) for task in tasks)
    Counter.objects.bulk_create(Counter(owner_id=owner, seq=next(seq) - 1) for owner, seq in numbers.items())
    Reminder.objects.bulk_create(reminder_of(task, number) for number, task in enumerate(tasks[:6000]))
    Job.objects.bulk_create(map(job_of, range(3000)))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # with SQLite nobody does that
            cursor.execute("ANALYZE")
    mine = [task for task in tasks if task.owner_id == me.user.id]
    live, trashed = (
        next(str(task.id) for task in mine if bool(task.deleted_at) == is_gone) for is_gone in (False, True)
    )
    return Filled(me, boss, live, trashed, str(drawers[me.user.id].id))


def category_of(owner: User) -> Category:
    at = now()
    return Category(
        id=new_id(),
        owner=owner,
        name="Drawer",
        name_key="drawer",
        color="#808080",
        position=0,
        created_at=at,
        updated_at=at,
    )


def task_of(owner_id: Any, category: Category, number: int) -> Task:
    """Of all statuses and priorities, with and without a due date; few are late, some are in the trash."""
    at, made = now(), now() - timedelta(hours=number)
    status = STATUSES[number % 5]
    due = at + timedelta(hours=number + 1 if number % 7 else -number - 1)
    return Task(
        id=new_id(),
        owner_id=owner_id,
        title=f"{VERBS[number % 7]} {number}",
        description="First thing in the morning, if possible. " * (number % 10),
        status=status,
        completed_at=made if status == "completed" else None,
        priority=number % 4 + 1,
        due_on=due.date() if number % 3 == 0 else None,
        due_at=due if number % 3 < 2 else None,
        category=category if number % 2 else None,
        tags=TAGS[number % 4],
        tag_keys=TAGS[number % 4],
        reminders=[],
        created_at=made,
        updated_at=made,
        deleted_at=made if number % 11 == 0 else None,
    )


def words_of(task: Task) -> TaskWords:
    scope, words = scope_of(task.owner_id), indexed_words(task.title, task.description)
    found = tsvector(words, scope) if connection.vendor == "postgresql" else " ".join(words)
    return TaskWords(task=task, scope=scope, words=found)


def change_of(task: Task, seq: int) -> Change:
    return Change(
        id=new_id(),
        owner_id=task.owner_id,
        seq=seq,
        at=task.created_at,
        actor_id=task.owner_id,
        actor_name="someone",
        action="task.created",
        target_type="task",
        target_id=task.id,
        target_label=task.title,
        changes={"title": [None, task.title]},
    )


def reminder_of(task: Task, number: int) -> Reminder:
    """Half have passed, few are due."""
    at = now()
    return Reminder(
        id=new_id(),
        task=task,
        owner_id=task.owner_id,
        text="-PT1H",
        remind_at=at + timedelta(hours=number - 50),
        passed_at=at if number % 2 else None,
    )


def job_of(number: int) -> Job:
    """Half are done, few are due, few are in someone's hands."""
    at, state = now(), "running" if number % 100 == 0 else "done" if number % 2 else "waiting"
    return Job(
        id=new_id(),
        name=sorted(known())[number % len(known())],
        args={},
        state=state,
        urgent=number % 4 == 0,
        run_at=at + timedelta(minutes=number - 60),
        attempts=0,
        fence=0,
        losses=0,
        lease_until=at + timedelta(minutes=number - 5) if state == "running" else None,
        created_at=at,
        finished_at=at if state == "done" else None,
    )


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Filled]:
    with for_a_module(django_db_blocker):
        yield fill()


@pytest.fixture
def filled(world: Filled, django_db_blocker: DjangoDbBlocker) -> Iterator[Filled]:
    with django_db_blocker.unblock(), undone():
        yield world


def pages(api: Api, path: str) -> Callable[[], None]:
    """A call for the first page of a list and, where there is one, for the one behind it."""

    def call() -> None:
        first = api.get(path)
        assert first.status_code == 200, first.content
        if cursor := first.json()["pagination"]["next_cursor"]:
            assert api.get(f"{path}&cursor={quote(cursor)}").status_code == 200

    return call


def assert_no_faults(call: Callable[[], object], allowed: dict[str, str], *, by: str = KEY) -> None:
    found = faults(call, by=by)
    wrong = {fault: plan for fault, plan in found.items() if fault not in allowed}
    assert not wrong, "\n\n".join(f"It {fault}:\n{plan}" for fault, plan in wrong.items())
    assert found.keys() == allowed.keys(), "allowed and not needed"


def assert_goes_by(way: str, call: Callable[[], object], *, about: str = "") -> None:
    """All statements that have `about` in them, at least one, have `way` in their plans."""
    plans = [plan for plan in plans_of(call) if about in plan.sql]
    assert plans
    assert all(way in str(plan) for plan in plans)


# Lists

EXAMPLES = {
    "status": "pending",
    "completed": "false",
    "priority": "medium",
    "category": "{category}",
    "owner": "{me}",
    "tag": "home",
    "due_date": "2026-01-01",
    "completed_at": "2026-01-01",
    "created_at": "2026-01-01",
    "updated_at": "2026-01-01",
    "action": "task.created",
    "target": "task",
    "target_id": "{task}",
    "actor": "{me}",
    "seq": "7",
    "at": "2026-01-01",
}
MORE = (
    "tasks/?status=pending,in_progress",
    "tasks/?status=pending&ordering=due_date",
    "tasks/?status=pending&ordering=-due_date",
    "tasks/?completed=false&ordering=due_date",
    "tasks/?due_date__gte=2026-01-01&ordering=due_date",
    "tasks/trash/?",
    "tasks/trash/?ordering=deleted_at",
    "activity-logs/?seq__gt=7&ordering=seq",
    "activity-logs/?target_id={task}&ordering=seq",
    "categories/?",
)
SEARCHES = ("buy", "first", "nothing", "mend 46", '"first thing"', "buy -mend", "-buy")


def every(path: str, listing: Listing) -> Iterator[str]:
    """All that a list offers, one by one."""
    for name in listing.orderings:
        yield from (f"{path}?ordering={name}", f"{path}?ordering=-{name}")
    for declared in listing.filters:
        for name, _, _ in declared.parameters():
            yield f"{path}?{name}={'true' if name.endswith('__isnull') else EXAMPLES[declared.name]}"


LISTS = [*every("tasks/", TASKS), *every("activity-logs/", ACTIVITY), *MORE]
RARE_ORDER = "another index for each such order would make every write dearer than these lists are worth"
IN_HAND = "those that run are as many as workers have in hand"
FEW_FOUND = "those that the index of words has found, 400 at most"
MOST_HAVE_IT = "planned for what most tasks have, and not executed then: the newest have told so"
NO_STATISTICS = "SQLite has no statistics, and takes a range for narrow"
ALLOWED = {
    **{
        f"tasks/?ordering={sign}{name}": {"sorts": RARE_ORDER}
        for name in ("updated_at", "completed_at", "priority", "title", "status", "id")
        for sign in ("", "-")
    },
}
ALLOWED_ON = {
    "sqlite": {
        **{
            f"tasks/?due_date{suffix}=2026-01-01": {"sorts": NO_STATISTICS}
            for suffix in ("", "__gte", "__gt", "__lte", "__lt")
        },
        **{f"activity-logs/?seq{suffix}=7": {"sorts": NO_STATISTICS} for suffix in ("__gte", "__gt", "__lte", "__lt")},
        **{f"{who}: {words}": {"sorts": FEW_FOUND} for who in ("me", "boss") for words in ("nothing", "mend 46")},
        "recover": dict.fromkeys(("walks through jobs_job_finished", "sorts"), IN_HAND),
    },
    "postgresql": {
        **{f"tasks/?ordering={sign}id": {"walks through tasks_task_pkey": RARE_ORDER} for sign in ("", "-")},
        **{f"boss: {words}": {"reads all of tasks_words": MOST_HAVE_IT} for words in ("first", '"first thing"')},
    },
}


def allowed(name: str) -> dict[str, str]:
    """Faults that are known, each with the reason why nothing is done."""
    return ALLOWED_ON[connection.vendor].get(name) or ALLOWED.get(name, {})


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_read_in_its_order_and_no_further_than_its_page(filled: Filled, path: str) -> None:
    assert_no_faults(pages(filled.me, path.format(**filled.names)), allowed(path))


@pytest.mark.parametrize("path", ["tasks/?", "tasks/?ordering=created_at", "tasks/trash/?", "activity-logs/?"])
def test_so_is_a_list_of_everyones(filled: Filled, path: str) -> None:
    assert_no_faults(pages(filled.boss, path), {}, by=ANYWHERE)


def test_one_status_by_due_date_is_a_range_of_an_index(filled: Filled) -> None:
    """With many tasks of other statuses before it, it would read those."""
    path = "tasks/?status=pending&ordering=due_date"
    assert_goes_by("tasks_task_status_due_at", lambda: filled.me.get(path), about="tasks_task")


def test_the_last_changes_of_one_thing_are_a_range_of_an_index(filled: Filled) -> None:
    """By the owner's numbers it would read the changes of everything else too."""
    assert_goes_by("activity_change_target", lambda: fields_of_last(filled.me.user.id, UUID(filled.names["task"]), 1))


def test_the_tasks_of_categories_are_counted_in_an_index_alone(filled: Filled) -> None:
    """With many in them, it would read the pages of all."""
    way = "Index Only Scan" if connection.vendor == "postgresql" else "COVERING INDEX tasks_task_in_category"
    assert_goes_by(way, lambda: filled.me.get("categories/"), about="task_count")


@pytest.mark.parametrize("words", SEARCHES)
@pytest.mark.parametrize("who", ["me", "boss"])
def test_a_search_looks_up_a_few_or_asks_one_by_one(filled: Filled, who: str, words: str) -> None:
    call = pages(getattr(filled, who), f"tasks/?search={quote(words)}")
    assert_no_faults(call, allowed(f"{who}: {words}"), by=KEY if who == "me" else ANYWHERE)


# One task, and what the clock does

PLAIN = {"title": "Milk", "tags": ["home"], "priority": "high"}
FULL = {**PLAIN, "due_date": "2030-01-31", "category": "{category}", "reminders": ["-PT1H"]}
CALLS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "one task": ("GET", "tasks/{task}/", None),
    "create": ("POST", "tasks/", PLAIN),
    "create in full": ("POST", "tasks/", FULL),
    "patch": ("PATCH", "tasks/{task}/", {"priority": "high", "due_date": "2030-01-31"}),
    "patch in full": ("PATCH", "tasks/{task}/", FULL),
    "put": ("PUT", "tasks/{task}/", FULL),
    "complete": ("PATCH", "tasks/{task}/", {"status": "completed"}),
    "delete": ("DELETE", "tasks/{task}/", None),
    "restore": ("POST", "tasks/{trashed}/restore/", None),
    "one category": ("GET", "categories/{category}/", None),
    "new category": ("POST", "categories/", {"name": "Other"}),
}
SWEEPS: dict[str, Callable[[], Any]] = {
    "overdue": lambda: mark_overdue(now=now(), limit=50),
    "old trash": lambda: purge_trash(now=now(), limit=50),
    "due reminders": lambda: due_reminders(now(), 20),
    "claim": lambda: claim("me", 5),
    "recover": recover,
    "next job": lambda: time_to_next(list(known())),
}


@pytest.mark.parametrize("name", CALLS)
def test_one_task_is_found_by_its_key(filled: Filled, name: str) -> None:
    method, path, body = CALLS[name]
    body = body and {key: value.format(**filled.names) if key == "category" else value for key, value in body.items()}

    def call() -> None:
        response = filled.me.call(method, path.format(**filled.names), body)
        assert response.status_code < 300, response.content

    assert_no_faults(call, {})


@pytest.mark.parametrize("name", SWEEPS)
def test_what_is_due_is_found_by_when_it_is_due(filled: Filled, name: str) -> None:
    found = []
    assert_no_faults(lambda: found.append(SWEEPS[name]()), allowed(name), by=WHEN)
    assert found[0]
