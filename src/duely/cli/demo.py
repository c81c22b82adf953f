"""`duely demo`: fills an empty instance with a year of realistic data.

Calls the same actions as the API, in chronological order, so that the change log is complete.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from duely.cli.createadmin import made_up_password
from duely.cli.exits import Failure
from duely.cli.migrate import setup

if TYPE_CHECKING:
    from duely.core.actor import Actor

SEED = 20_26
BATCH = 500
YEAR = timedelta(days=365)
PEOPLE = {"maya": "Europe/Berlin", "jonas": "Europe/Oslo", "li": "Asia/Singapore", "sam": "America/New_York"}
CATEGORIES = {
    "Home": ("#1f6f5c", ["Pay the rent", "Water the plants", "Fix the tap", "Clean the {room}", "Order {goods}"]),
    "Work": (
        "#2f5d9b",
        ["Review {who}'s proposal", "Prepare the {month} report", "Answer {who}", "Plan the {month} release"],
    ),
    "Errands": ("#a8612a", ["Buy {goods}", "Return the parcel", "Pick up {goods}", "Call {who}"]),
    "Health": ("#a33c5a", ["Run {number} km", "Dentist", "Book a check-up", "Stretch for {number} minutes"]),
    "Learning": ("#6a4c93", ["Read chapter {number}", "Practise the {instrument}", "Finish lesson {number}"]),
}
WORDS = {
    "room": ["kitchen", "bathroom", "cellar", "balcony"],
    "goods": ["coffee", "paint", "a birthday present", "printer paper", "bread and milk", "light bulbs"],
    "who": ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald"],
    "month": ["January", "March", "May", "July", "September", "November"],
    "number": ["3", "5", "8", "12", "20"],
    "instrument": ["piano", "guitar", "violin"],
}
TAGS = ["quick", "phone", "online", "waiting", "with-help", "evening", "weekend"]


@dataclass(order=True)
class Step:
    """One action of a person at a time."""

    at: datetime
    order: int
    do: Callable[[datetime], object] = field(compare=False)


def demo(*, tasks: int) -> None:
    """Fill an empty instance with users and `tasks` tasks. Raises Failure if there are tasks already."""
    setup()
    from django.db import transaction

    from duely.core import clock
    from duely.tasks.queries import any_tasks

    if any_tasks():
        raise Failure("there are tasks in this instance already; the demo fills an empty one.")
    password = made_up_password()
    now = clock.now()
    steps = iter(_progress(_steps(tasks, password, now)))
    while batch := list(islice(steps, BATCH)):
        with transaction.atomic():
            for step in batch:
                step.do(step.at)
    names = ", ".join(PEOPLE)
    print(f"{tasks} tasks of {names} are there. Sign in as any of them with the password {password}")


def _steps(tasks: int, password: str, now: datetime) -> list[Step]:
    chance = random.Random(SEED)  # noqa: S311 - sample data, not secrets
    steps: list[Step] = []

    def plan(at: datetime, do: Callable[[datetime], object]) -> None:
        if at <= now:
            steps.append(Step(at, len(steps), do))

    start = now - YEAR
    for number, (name, zone) in enumerate(PEOPLE.items()):
        person = Person(name, zone, password)
        plan(start, person.sign_up)
        for category, (color, _) in CATEGORIES.items():
            plan(start + timedelta(minutes=1), partial(person.add_category, name=category, color=color))
        for _ in range(tasks // len(PEOPLE) + (number < tasks % len(PEOPLE))):
            _plan_task(plan, person, chance, start, now)
    return sorted(steps)


def _plan_task(
    plan: Callable[..., None], person: "Person", chance: random.Random, start: datetime, now: datetime
) -> None:
    """Plan the steps of one task: created, perhaps started, then completed, cancelled, deleted or left open."""
    from duely.core.ids import new_id
    from duely.tasks.rules import Priority, Status

    created_at = start + timedelta(minutes=2) + (now - start - timedelta(minutes=2)) * chance.random()
    category = chance.choice(list(CATEGORIES))
    title = chance.choice(CATEGORIES[category][1])
    title = title.format(**{name: chance.choice(words) for name, words in WORDS.items()})
    due = _due(chance, created_at)
    task_id = new_id()
    fields: dict[str, Any] = {
        "id": task_id,
        "title": title,
        "priority": chance.choices(list(Priority), [2, 5, 2, 1])[0],
        "due_date": due,
        "tags": chance.sample(TAGS, chance.choice([0, 0, 1, 1, 2])),
        "reminders": ["-PT30M"] if isinstance(due, datetime) and chance.random() < 0.3 else [],
    }
    plan(created_at, lambda at: person.add_task(at, category, fields))
    ended_at = created_at + timedelta(hours=1 + chance.expovariate(1 / 120))
    if chance.random() < 0.35:
        started_at = created_at + (ended_at - created_at) * chance.random()
        plan(started_at, lambda at: person.edit_task(at, task_id, {"status": Status.IN_PROGRESS}))
    outcome = chance.random()
    if outcome < 0.86:
        plan(ended_at, lambda at: person.edit_task(at, task_id, {"status": Status.COMPLETED}))
    elif outcome < 0.91:
        plan(ended_at, lambda at: person.edit_task(at, task_id, {"status": Status.CANCELLED}))
    elif outcome < 0.94:
        plan(ended_at, lambda at: person.delete_task(at, task_id))


def _due(chance: random.Random, created_at: datetime) -> date | datetime | None:
    kind = chance.random()
    day = created_at + timedelta(days=1 + int(chance.expovariate(1 / 6)))
    if kind < 0.25:
        return None
    if kind < 0.65:
        return day.date()
    return day.replace(hour=chance.randint(7, 19), minute=chance.choice([0, 15, 30, 45]), second=0)


class Person:
    """A user of the demo, with a method for each action."""

    def __init__(self, name: str, zone: str, password: str) -> None:
        self.name, self.zone, self.password = name, zone, password
        self.categories: dict[str, UUID] = {}
        self.actor: Actor | None = None

    @property
    def signed_up(self) -> "Actor":
        """The actor of this person's actions."""
        if self.actor is None:
            raise ValueError(f"{self.name} has not signed up yet")
        return self.actor

    def sign_up(self, at: datetime) -> None:
        """Create the account."""
        from duely.accounts.actions import create_user, update_profile
        from duely.accounts.rules import Role
        from duely.core.actor import Actor, Origin

        user = create_user(
            actor=None,
            username=self.name,
            email=f"{self.name}@example.org",
            password=self.password,
            role=Role.MEMBER,
            now=at,
        )
        self.actor = Actor(user.id, self.name, Role.MEMBER.value, None, self.zone, Origin(user_agent="duely demo"))
        profile = {"display_name": self.name.title(), "time_zone": self.zone}
        update_profile(actor=self.actor, values=profile, now=at)

    def add_category(self, at: datetime, name: str, color: str) -> None:
        """Create a category."""
        from duely.tasks.actions import create_category

        fields = {"name": name, "color": color, "position": len(self.categories)}
        self.categories[name] = create_category(actor=self.signed_up, fields=fields, now=at).id

    def add_task(self, at: datetime, category: str, fields: dict[str, Any]) -> None:
        """Create a task."""
        from duely.tasks.actions import create_task

        create_task(actor=self.signed_up, fields={**fields, "category": self.categories[category]}, now=at)

    def edit_task(self, at: datetime, task_id: UUID, fields: dict[str, Any]) -> None:
        """Change a task."""
        from duely.tasks.actions import update_task

        update_task(actor=self.signed_up, task_id=task_id, fields=fields, now=at)

    def delete_task(self, at: datetime, task_id: UUID) -> None:
        """Move a task to the trash."""
        from duely.tasks.actions import delete_task

        delete_task(actor=self.signed_up, task_id=task_id, now=at)


def _progress(steps: list[Step]) -> Iterator[Step]:
    """The steps, with a progress bar on a terminal and silence on a pipe."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(steps, "Living a year", console=console, disable=not console.is_terminal)
