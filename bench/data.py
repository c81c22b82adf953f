"""Believable people and tasks, with their search words and change log, as quickly as a database takes them."""

import itertools
import json
import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from search import vocabulary

OPTIONS = "-c TimeZone=UTC -c maintenance_work_mem=256MB"
BATCH = 10_000
DAYS = 400
TEXTS = 20_000
CATEGORIES = 5
SAMPLE = 20_000
LABELS = ("home", "work", "Errand", "phone", "money", "garden", "later", "family")
TASK = (
    "id, owner_id, title, description, status, completed_at, priority, due_on, due_at, category_id,"
    " tags, tag_keys, reminders, version, created_at, updated_at, deleted_at"
)
CHANGE = (
    "id, owner_id, seq, at, actor_id, actor_name, action, target_type, target_id, target_label,"
    " changes, user_agent, request_id"
)
WORDS = "task_id, scope, words"
TABLES = {"tasks_task": TASK, "tasks_words": WORDS, "activity_change": CHANGE}
USER = (
    "id, username, username_key, email, email_key, email_verified, role, is_active, password, created_at,"
    " display_name, time_zone, locale, bio, reminder_emails"
)
SESSION = "id, user_id, created_at, last_used_at, expires_at, user_agent, end_reason"
CATEGORY = "id, owner_id, name, name_key, color, position, version, created_at, updated_at"


Row = tuple[Any, ...]


@dataclass(frozen=True)
class Person:
    """Someone with an account who is signed in."""

    name: str
    id: UUID
    session: UUID
    categories: tuple[UUID, ...]


@dataclass(frozen=True)
class World:
    """What was loaded.

    `sample`: some tasks that are not in the trash, each with the place of its owner in `people`. `words`: those that
    texts are made of, the commonest first.
    """

    people: list[Person]
    sample: list[tuple[int, UUID]]
    words: list[str]


class Loader:
    """Puts rows into tables: tuples of text, numbers and None, on PostgreSQL by COPY."""

    def __init__(self, url: str) -> None:
        self.is_postgres = not url.startswith("sqlite")
        if self.is_postgres:
            self.connection: Any = psycopg.connect(url, autocommit=True, options=OPTIONS)
        else:
            self.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            self.connection.execute("PRAGMA synchronous = OFF")
            self.connection.execute("PRAGMA cache_size = -400000")

    def put(self, table: str, columns: str, rows: Sequence[Row]) -> None:
        """Add rows. None of the texts holds a tab, a backslash or the end of a line."""
        if self.is_postgres:
            text = "".join("\t".join(map(_copied, row)) + "\n" for row in rows)
            with self.connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                copy.write(text)
            return
        marks = ", ".join("?" * len(rows[0]))
        self.connection.execute("BEGIN")
        self.connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        self.connection.execute("COMMIT")

    def without_indexes(self, *tables: str) -> list[str]:
        """Drop the indexes that no constraint needs; returns what makes them again. PostgreSQL alone."""
        if not self.is_postgres:
            return []
        found = self.connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY (%s)"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            [list(tables)],
        ).fetchall()
        for name, _ in found:
            self.connection.execute(f'DROP INDEX "{name}"')
        return [definition for _, definition in found]

    def finish(self, indexes: Sequence[str] = ()) -> None:
        """Make the indexes again, and let the database learn what it has."""
        for definition in indexes:
            self.connection.execute(definition)
        self.connection.execute("VACUUM ANALYZE" if self.is_postgres else "ANALYZE")
        if not self.is_postgres:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()


def _copied(value: Any) -> str:
    return "\\N" if value is None else str(value)


def load(url: str, users: int, tasks_each: int) -> World:
    """Fill an empty database whose tables are there. The tasks of all people come in the order of their time."""
    chance = random.Random(5)
    loader = Loader(url)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
    people = [_person(number, start, chance) for number in range(users)]
    _put_people(loader, people, start)
    world = World(people, [], vocabulary(random.Random(1))[0])
    indexes = loader.without_indexes(*TABLES)
    for batch in _batches(Maker(loader, world, start, tasks_each, chance).rows()):
        for (table, columns), rows in zip(TABLES.items(), zip(*batch, strict=True), strict=True):
            loader.put(table, columns, rows)
    loader.put("activity_counter", "owner_id, seq", [(person.id.hex, tasks_each) for person in people])
    loader.finish(indexes)
    chance.shuffle(world.sample)
    del world.sample[SAMPLE:]
    return world


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _id(at: datetime, chance: random.Random) -> UUID:
    """A UUIDv7 of that time."""
    value = int(at.timestamp() * 1000) << 80 | chance.getrandbits(80)
    return UUID(int=value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def _shown(at: datetime) -> str:
    """An instant as both databases take it."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _person(number: int, at: datetime, chance: random.Random) -> Person:
    # Ids rise with the number: the baseline gives its people numbers in that order.
    at += timedelta(milliseconds=number)
    categories = tuple(_id(at, chance) for _ in range(CATEGORIES))
    return Person(f"person{number}", _id(at, chance), _id(at, chance), categories)


def _put_people(loader: Loader, people: Sequence[Person], start: datetime) -> None:
    at, end = _shown(start), _shown(start + timedelta(days=DAYS + 7))
    rows, sessions, categories = [], [], []
    for person in people:
        name, mail = person.name, f"{person.name}@example.org"
        rows.append(
            (person.id.hex, name, name, mail, mail, 1, "member", 1, "!", at, name, "UTC", "en", "", 1),
        )
        sessions.append((person.session.hex, person.id.hex, at, at, end, "wrk", ""))
        for place, category in enumerate(person.categories):
            label = f"Category {place}"
            categories.append((category.hex, person.id.hex, label, label.lower(), "#1f6f5c", place, 1, at, at))
    loader.put("accounts_user", USER, rows)
    loader.put("accounts_session", SESSION, sessions)
    loader.put("tasks_category", CATEGORY, categories)


class Maker:
    """Makes the tasks of all people, in the order of their time: each turn, everyone gets one."""

    def __init__(self, loader: Loader, world: World, start: datetime, tasks_each: int, chance: random.Random) -> None:
        from duely.tasks import search

        self.search, self.is_postgres, self.chance = search, loader.is_postgres, chance
        self.world, self.start, self.tasks_each = world, start, tasks_each
        self.scopes = [search.scope_of(person.id) for person in world.people]
        self.texts = self.made_texts()

    def made_texts(self) -> list[tuple[str, str, list[str]]]:
        """Titles and descriptions, with the words that a search finds in them. The first words come most often."""
        found, totals = [], [*itertools.accumulate(1 / (rank + 3) for rank in range(len(self.world.words)))]
        for _ in range(TEXTS):
            number = self.chance.choice((3, 4, 5, 6, 14, 30))
            drawn = self.chance.choices(self.world.words, cum_weights=totals, k=number)
            title, description = " ".join(drawn[:6]).capitalize(), " ".join(drawn[6:])
            found.append((title, description, self.search.indexed_words(title, description)))
        return found

    def rows(self) -> Iterator[tuple[Row, Row, Row]]:
        """The rows of each task, of its words and of its entry in the log. Fills `world.sample`."""
        step = timedelta(days=DAYS - 1) / self.tasks_each
        every = max(1, len(self.world.people) * self.tasks_each // (2 * SAMPLE))
        for number in range(self.tasks_each):
            for place in range(len(self.world.people)):
                at = self.start + number * step + timedelta(milliseconds=1 + self.chance.randrange(900))
                task_id, is_deleted = _id(at, self.chance), self.chance.random() < 0.03
                if not is_deleted and self.chance.randrange(every) == 0:
                    self.world.sample.append((place, task_id))
                yield self.of_one(place, task_id, at, number, is_deleted)

    def of_one(self, place: int, task_id: UUID, at: datetime, number: int, is_deleted: bool) -> tuple[Row, Row, Row]:
        """The three rows of one task."""
        chance, person, scope = self.chance, self.world.people[place], self.scopes[place]
        title, description, words = self.texts[chance.randrange(TEXTS)]
        status = chance.choices(("pending", "in_progress", "completed", "cancelled"), (30, 10, 55, 5))[0]
        labels, category = (
            chance.sample(LABELS, k=chance.choice((0, 0, 1, 2))),
            chance.choice((None, *person.categories)),
        )
        key, owner, created = task_id.hex, person.id.hex, _shown(at)
        task = (
            *(key, owner, title, description, status, created if status == "completed" else None, 1 + number % 4),
            *(*self.due(status, at), category.hex if category else None),
            *(json.dumps(labels), json.dumps([label.lower() for label in labels]), "[]", 1, created, created),
            created if is_deleted else None,
        )
        found = (key, scope, self.search.tsvector(words, scope) if self.is_postgres else " ".join(words))
        changes = json.dumps({"title": [None, title], "status": [None, status], "tags": [None, labels]})
        change = (
            *(_id(at, chance).hex, owner, number + 1, created, owner, person.name, "task.created", "task"),
            *(key, title, changes, "wrk", f"bench-{number}-{place}"),
        )
        return task, found, change

    def due(self, status: str, at: datetime) -> tuple[str | None, str | None]:
        """Day and instant.

        What is pending is due, in the future and at a time of the day; of the rest a half, some on a whole day.
        """
        if status != "pending" and self.chance.random() < 0.5:
            return None, None
        since = self.start + timedelta(days=DAYS) if status in ("pending", "in_progress") else at
        due = since + timedelta(days=1, milliseconds=self.chance.randrange(DAYS * 86_400_000))
        if due.microsecond == 0:  # Django would write it without a fraction
            due += timedelta(milliseconds=1)
        if status == "pending" or self.chance.random() < 0.7:
            return None, _shown(due)
        end = due.replace(hour=23, minute=59, second=59, microsecond=999_000)
        return end.date().isoformat(), _shown(end)


def make_tables(url: str, folder: str) -> None:
    """Duely's tables, by its own migrations, in an empty database. Once in a process."""
    os.environ |= {"DATABASE_URL": url, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "duely.config.settings"}
    from duely.cli.migrate import migrate

    migrate()
    from django.db import connections

    connections.close_all()


def count(url: str, statement: str, *values: Any) -> int:
    """The one number that a statement (with `%s`) gives."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute(statement.replace("%s", "?"), values).fetchone()[0])
    with psycopg.connect(url) as connection:
        return int(connection.execute(statement, values).fetchone()[0])
