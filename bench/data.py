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

OPTIONS = "-c TimeZone=UTC -c maintenance_work_mem=1GB -c synchronous_commit=off"
BATCH = 10_000
DAYS = 400
TEXTS = 20_000
CATEGORIES = 5
SAMPLE = 20_000
ANY_SCOPE = "?"
STATUSES = (*["pending"] * 6, *["in_progress"] * 2, *["completed"] * 11, "cancelled")
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

    def bare(self, *tables: str) -> list[str]:
        """Drop indexes, keys and foreign keys; returns what makes them again. Of SQLite's only indexes.

        Made after the rows, all of them take a fraction of the time.
        """
        if not self.is_postgres:
            return self._without_indexes(tables)
        named = [list(tables)]
        keys = self.connection.execute(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), contype = 'f' AS is_foreign"
            " FROM pg_constraint WHERE contype IN ('p', 'u', 'f')"
            " AND (conrelid = ANY (%s::regclass[]) OR confrelid = ANY (%s::regclass[])) ORDER BY is_foreign",
            named * 2,
        ).fetchall()
        again = [f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}' for table, name, definition, _ in keys]
        for table, name, _, _ in reversed(keys):
            self.connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        indexes = self.connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY (%s)", named
        ).fetchall()
        for name, _ in indexes:
            self.connection.execute(f'DROP INDEX "{name}"')
        return [*again, *(definition for _, definition in indexes)]

    def _without_indexes(self, tables: Sequence[str]) -> list[str]:
        marks = ", ".join("?" * len(tables))
        indexes = self.connection.execute(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql > '' AND tbl_name IN ({marks})", tables
        ).fetchall()
        for name, _ in indexes:
            self.connection.execute(f'DROP INDEX "{name}"')
        return [definition for _, definition in indexes]

    def finish(self, again: Sequence[str] = ()) -> None:
        """Make what `bare` dropped, and let the database learn what it has."""
        for statement in again:
            self.connection.execute(statement)
        # On SQLite nobody lets it learn anything: neither does Duely.
        self.connection.execute("VACUUM ANALYZE" if self.is_postgres else "PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()


def _copied(value: Any) -> str:
    return "\\N" if value is None else str(value)


def load(url: str, users: int, tasks_each: int, *, first: int = 1) -> World:
    """Fill an empty database whose tables are there. The tasks of all people come in the order of their time.

    first: the first of the people has so many times as many tasks as each of the others.
    """
    chance = random.Random(5)
    loader = Loader(url)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
    people = [_person(number, start, chance) for number in range(users)]
    _put_people(loader, people, start)
    world = World(people, [], words())
    again = loader.bare(*TABLES)
    for batch in _batches(Maker(loader, world, start, tasks_each, first, chance).rows()):
        for (table, columns), rows in zip(TABLES.items(), zip(*batch, strict=True), strict=True):
            loader.put(table, columns, rows)
    counters = [(person.id.hex, tasks_each * (first if person is people[0] else 1)) for person in people]
    loader.put("activity_counter", "owner_id, seq", counters)
    loader.finish(again)
    chance.shuffle(world.sample)
    del world.sample[SAMPLE:]
    return world


def words() -> list[str]:
    """Those that texts are made of, the commonest first."""
    return vocabulary(random.Random(1))[0]


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _key(at: datetime, chance: random.Random) -> str:
    """A UUIDv7 of that time, as both databases take it."""
    value = int(at.timestamp() * 1000) << 80 | chance.getrandbits(80)
    return f"{value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62:032x}"


def _id(at: datetime, chance: random.Random) -> UUID:
    return UUID(_key(at, chance))


def shown(at: datetime) -> str:
    """An instant as both databases take it."""
    return at.replace(tzinfo=None).isoformat(" ", "microseconds")


def _person(number: int, at: datetime, chance: random.Random) -> Person:
    # Ids rise with the number: the baseline gives its people numbers in that order.
    at += timedelta(milliseconds=number)
    categories = tuple(_id(at, chance) for _ in range(CATEGORIES))
    return Person(f"person{number}", _id(at, chance), _id(at, chance), categories)


def _put_people(loader: Loader, people: Sequence[Person], start: datetime) -> None:
    at, end = shown(start), shown(start + timedelta(days=DAYS + 7))
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
    """Makes the tasks of all people, in the order of their time: in each turn everyone gets one, the first `first`."""

    def __init__(
        self, loader: Loader, world: World, start: datetime, tasks_each: int, first: int, chance: random.Random
    ) -> None:
        from duely.tasks import words

        self.search, self.is_postgres, self.chance = words, loader.is_postgres, chance
        self.world, self.start, self.tasks_each = world, start, tasks_each
        self.turn = [*range(len(world.people)), *[0] * (first - 1)]
        if first > 1:
            chance.shuffle(self.turn)
        self.owners = [
            (each.id.hex, each.name, words.scope_of(each.id), (None, *(category.hex for category in each.categories)))
            for each in world.people
        ]
        self.texts = self.made_texts()
        self.labels = [json.dumps(chance.sample(LABELS, k=number)) for number in (0, 0, 1, 2) * len(LABELS)]

    def made_texts(self) -> list[tuple[str, str, str]]:
        """Titles and descriptions, with their words as the database takes them, in ANY_SCOPE.

        The first words come most often.
        """
        found, totals = [], [*itertools.accumulate(1 / (rank + 3) for rank in range(len(self.world.words)))]
        for _ in range(TEXTS):
            number = self.chance.choice((3, 4, 5, 6, 14, 30))
            drawn = self.chance.choices(self.world.words, cum_weights=totals, k=number)
            title, description = " ".join(drawn[:6]).capitalize(), " ".join(drawn[6:])
            words = self.search.indexed_words(title, description)
            indexed = self.search.tsvector(words, ANY_SCOPE) if self.is_postgres else " ".join(words)
            found.append((title, description, indexed))
        return found

    def rows(self) -> Iterator[tuple[Row, Row, Row]]:
        """The rows of each task, of its words and of its entry in the log. Fills `world.sample`."""
        number = self.tasks_each * len(self.turn)
        step = timedelta(days=DAYS - 1) / number
        every = max(1, number // (2 * SAMPLE))
        made = [0] * len(self.world.people)
        for index, place in enumerate(itertools.chain.from_iterable(itertools.repeat(self.turn, self.tasks_each))):
            # Django would write an instant of a whole second without a fraction.
            at = (self.start + index * step).replace(microsecond=1000 * (1 + self.chance.randrange(900)))
            key, is_deleted = _key(at, self.chance), self.chance.random() < 0.03
            if not is_deleted and self.chance.randrange(every) == 0:
                self.world.sample.append((place, UUID(key)))
            yield self.of_one(place, key, at, made[place], is_deleted)
            made[place] += 1

    def of_one(self, place: int, key: str, at: datetime, number: int, is_deleted: bool) -> tuple[Row, Row, Row]:
        """The three rows of one task."""
        chance, (owner, name, scope, categories) = self.chance, self.owners[place]
        title, description, indexed = chance.choice(self.texts)
        status, labels, created = chance.choice(STATUSES), chance.choice(self.labels), shown(at)
        task = (
            *(key, owner, title, description, status, created if status == "completed" else None, 1 + number % 4),
            *(*self.due(status, at), chance.choice(categories)),
            *(labels, labels.lower(), "[]", 1, created, created, created if is_deleted else None),
        )
        changes = f'{{"title": [null, "{title}"], "status": [null, "{status}"], "tags": [null, {labels}]}}'
        change = (
            *(_key(at, chance), owner, number + 1, created, owner, name, "task.created", "task"),
            *(key, title, changes, "wrk", f"bench-{number}-{place}"),
        )
        return task, (key, scope, indexed.replace(ANY_SCOPE, scope)), change

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
            return None, shown(due)
        end = due.replace(hour=23, minute=59, second=59, microsecond=999_000)
        return end.date().isoformat(), shown(end)


def make_tables(url: str, folder: str) -> None:
    """Duely's tables, by its own migrations, in an empty database. Once in a process."""
    os.environ |= {"DATABASE_URL": url, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "duely.config.settings"}
    from duely.cli.migrate import migrate

    migrate()
    from django.db import connections

    connections.close_all()


def rows(url: str, statement: str, *values: Any) -> list[Row]:
    """What a statement (with `%s`) finds."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(statement.replace("%s", "?"), values).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(statement, values).fetchall()


def count(url: str, statement: str, *values: Any) -> int:
    """The one number that a statement gives."""
    return int(rows(url, statement, *values)[0][0])
