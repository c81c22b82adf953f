"""What a search costs beside a list that is not filtered: `python bench/search.py --tasks 1000000 --database sqlite`.

Fills a temporary database (SQLite, or PostgreSQL as `bench/overdue.py` does) with tasks of words that come as often as
those of a language do, half of them of one owner and half of 1,000 others, and calls the API in this process: lists and
searches in turn, of the one with very many tasks, of one with few, and of an admin. Prints the median and the 95th
percentile of each kind of request, in milliseconds, and the ratio of its p95 to the list's.
"""

import argparse
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from overdue import database

OWNERS = 1000
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
VOCABULARY = 20_000
BATCH = 2_000
COLUMNS = (
    "id, owner_id, title, description, status, priority, tags, tag_keys, reminders, version, created_at, updated_at"
)


def vocabulary(chance: random.Random) -> tuple[list[str], list[float]]:
    """Words, and their weights: the first comes most often (Zipf)."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = {"".join(chance.choices(letters[:16], k=chance.randint(3, 9))) for _ in range(2 * VOCABULARY)}
    return sorted(words)[:VOCABULARY], [1 / (rank + 3) for rank in range(VOCABULARY)]


def tasks(number: int, owners: Sequence[Any], words: list[str], weights: list[float]) -> Iterator[tuple[Any, str, str]]:
    """(owner, title, description): every other one is the first owner's."""
    chance = random.Random(2)
    totals = [*itertools.accumulate(weights)]
    for index in range(number):
        found = chance.choices(words, cum_weights=totals, k=chance.choice((3, 4, 5, 6, 14, 30)))
        owner = owners[0] if index % 2 else owners[chance.randrange(1, len(owners))]
        yield owner, " ".join(found[:6]), " ".join(found[6:])


def fill(number: int, words: list[str], weights: list[float]) -> list[Any]:
    """People and tasks with their words; returns the people."""
    from django.db import connection

    from duely.accounts.models import User
    from duely.core.ids import new_id
    from duely.tasks import words

    people = [
        User(id=new_id(), username=name, username_key=name, email=name, email_key=name, role=role, created_at=NOW)
        for name, role in [("admin", "admin"), *((f"person{index}", "member") for index in range(OWNERS))]
    ]
    User.objects.bulk_create(people)
    is_postgres = connection.vendor == "postgresql"
    at, rows, indexed = NOW - timedelta(days=400), [], []
    connection.ensure_connection()
    raw = connection.connection
    with connection.cursor() as cursor:
        cursor.execute(
            "SET statement_timeout = 0; SET lock_timeout = 0" if is_postgres else "PRAGMA cache_size = -400000"
        )
    for index, (owner, title, description) in enumerate(tasks(number, [p.id for p in people[1:]], words, weights)):
        at += timedelta(milliseconds=30)
        task_id, scope, found = new_id(), words.scope_of(owner), words.indexed_words(title, description)
        shown = at if is_postgres else at.strftime("%Y-%m-%d %H:%M:%S.%f")
        key, whose = (task_id, owner) if is_postgres else (task_id.hex, owner.hex)
        rows.append((key, whose, title, description, "pending", 2, "[]", "[]", "[]", 1, shown, shown))
        indexed.append((key, scope, words.tsvector(found, scope) if is_postgres else " ".join(found)))
        if len(rows) == BATCH or index == number - 1:
            put(raw, "tasks_task", COLUMNS, rows)
            put(raw, "tasks_words", "task_id, scope, words", indexed)
            rows.clear()
            indexed.clear()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if is_postgres else "PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return people


def put(raw: Any, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Rows as quickly as the database takes them."""
    if "psycopg" in type(raw).__module__:
        with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    raw.execute("BEGIN")
    raw.executemany(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(rows[0]))})", rows)
    raw.execute("COMMIT")


def requests(words: list[str], chance: random.Random) -> Iterator[tuple[str, str]]:
    """(kind, query string) without end: an unfiltered list, then a search, of each kind in turn."""
    ranks = {"a very common word": (0, 5), "a common word": (20, 200), "a rare word": (2000, 20000)}
    kinds = [*ranks, "a word in between", "the beginning of a word", "two words", "a phrase", "a word without another"]
    for kind in itertools.cycle(kinds):
        yield "list", ""
        if kind in ranks:
            text = words[chance.randrange(*ranks[kind])]
        elif kind == "a word in between":
            text = words[chance.randrange(200, 2000)]
        elif kind == "the beginning of a word":
            text = words[chance.randrange(0, 20000)][:3]
        elif kind == "two words":
            text = f"{words[chance.randrange(0, 50)]} {words[chance.randrange(0, 2000)]}"
        elif kind == "a phrase":
            text = f'"{words[chance.randrange(0, 20)]} {words[chance.randrange(0, 20)]}"'
        else:
            text = f"{words[chance.randrange(0, 200)]} -{words[chance.randrange(0, 20)]}"
        yield kind, f"?search={quote(text)}"


def measure(person: Any, seconds: float, words: list[str]) -> dict[str, list[float]]:
    """Milliseconds of each kind of request."""
    from django.test import Client

    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from cast import bearer

    client, headers = Client(SERVER_NAME="localhost"), bearer(person)
    taken: dict[str, list[float]] = {}
    end = time.monotonic() + seconds
    for number, (kind, query) in enumerate(requests(words, random.Random(3))):
        begun = time.perf_counter()
        answer = client.get(f"/api/v1/tasks/{query}", headers=headers)
        milliseconds = (time.perf_counter() - begun) * 1000
        if answer.status_code != 200:
            raise SystemExit(f"{query}: {answer.status_code} {answer.content!r}")
        if number >= 40:
            taken.setdefault(kind, []).append(milliseconds)
        if time.monotonic() > end:
            break
    return taken


def main() -> int:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=30, help="for each of the three people")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as folder, database(wanted.database, folder) as url:
        os.environ |= {"DATABASE_URL": url, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "duely.config.settings"}
        os.environ |= dict.fromkeys(("RATE_LIMIT_USER", "RATE_LIMIT_ANON"), "0") | {"LOG_LEVEL": "WARNING"}
        from duely.cli.migrate import migrate

        migrate()
        from django.db import connection

        words, weights = vocabulary(random.Random(1))
        begun = time.perf_counter()
        people = fill(wanted.tasks, words, weights)
        print(f"{wanted.tasks:,} tasks on {wanted.database}, filled in {time.perf_counter() - begun:.0f} s", flush=True)
        for who, person in (
            ("the one with half of them", people[1]),
            ("one of many", people[2]),
            ("an admin", people[0]),
        ):
            taken = measure(person, wanted.seconds, words)
            listed = statistics.quantiles(taken["list"], n=20)[-1]
            print(f"\n{who}{'':<30}   n    p50    p95  p95 / p95 of the list")
            for kind, times in taken.items():
                last = statistics.quantiles(times, n=20)[-1]
                print(f"{kind:<28}{len(times):>6}{statistics.median(times):>7.1f}{last:>7.1f}{last / listed:>7.2f}")
            every = [ms for kind, times in taken.items() if kind != "list" for ms in times]
            last = statistics.quantiles(every, n=20)[-1]
            print(
                f"{'all searches':<28}{len(every):>6}{statistics.median(every):>7.1f}{last:>7.1f}{last / listed:>7.2f}",
                flush=True,
            )
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
