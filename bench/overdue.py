"""How long the overdue sweep takes: `python bench/overdue.py --tasks 1000000 --late 10000 --database sqlite`.

Fills a temporary database (SQLite in a temporary folder; or PostgreSQL, a database of its own on the server that
DATABASE_URL names, else on a server that is started for it) with the tasks and the log of 1,000 owners, makes some of
the tasks newly late, and calls `mark_overdue` until nothing is left. Prints the seconds, the statements of a call and
how the database finds the tasks. Exit code 1 when it took longer than --seconds.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import postgres

OWNERS = 1000
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DIALECTS = {
    "sqlite": {
        "numbers": "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < %s)",
        "chance": "(random() & 2147483647) / 2147483648.0",
        "whole": "CAST({} AS integer)",
        "moment": "datetime('2026-11-21 12:00:00', ({}) || ' minutes')",
        "day": "date({})",
        "id": "printf('%%012x', 1790000000000 + i) || '7abc8' || substr(lower(hex(randomblob(8))), 1, 15)",
    },
    "postgresql": {
        "numbers": "WITH numbers AS (SELECT i FROM generate_series(1, %s) i)",
        "chance": "random()",
        "whole": "floor({})::int",
        "moment": "(timestamptz '2026-11-21 12:00:00Z' + ({}) * interval '1 minute')",
        "day": "({})::date",
        "id": "(lpad(to_hex(1790000000000 + i), 12, '0') || '7abc8' || substr(md5(random()::text), 1, 15))::uuid",
    },
}
LOG = (
    "INSERT INTO activity_change (id, owner_id, seq, at, actor_id, actor_name, action, target_type, target_id,"
    " target_label, changes, user_agent, request_id)"
    " SELECT id, owner_id, row_number() OVER (PARTITION BY owner_id ORDER BY id), created_at, owner_id, 'someone',"
    " 'task.created', 'task', id, title, '{}', 'curl/8', '' FROM tasks_task"
)
COUNTERS = "INSERT INTO activity_counter (owner_id, seq) SELECT owner_id, count(*) FROM activity_change GROUP BY 1"


@contextmanager
def database(kind: str, folder: str) -> Iterator[str]:
    """DATABASE_URL of an empty database, which is gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/bench.sqlite3"
        return
    name = f"duely_bench_{uuid.uuid4().hex[:8]}"
    with postgres.running() as server:
        server.run(f'CREATE DATABASE "{name}"')
        yield server.url(name)
        server.run(f'DROP DATABASE "{name}" WITH (FORCE)')


def tasks_sql(vendor: str) -> str:
    """Believable tasks: few owners have many, most are done; of the open ones only some are past their due date.

    Its parameters: how many tasks, every how many of them one is late, how many are late.
    """
    words = DIALECTS[vendor]
    moment, whole = words["moment"].format, words["whole"].format
    created = moment(whole("-20000 - since * 500000"))
    past, future = whole("-due * 20000"), whole("1 + due * 500000")
    due = (
        f"CASE WHEN is_late THEN {moment(past)} WHEN has_due AND is_open THEN {moment(future)}"
        f" WHEN has_due THEN {moment(past)} END"
    )
    on = words["day"].format(f"CASE WHEN i % 3 = 0 THEN {due} END").replace("%", "%%")
    deleted = f"CASE WHEN NOT is_late AND rest < 0.03 THEN {moment('-5')} END"
    return f"""
        {words["numbers"]}, drawn AS MATERIALIZED (
            SELECT i, {words["chance"]} AS owned, {words["chance"]} AS since, {words["chance"]} AS due,
                {words["chance"]} AS rest, {words["chance"]} AS state, i %% %s = 0 AND i <= %s AS is_late FROM numbers
        ), made AS MATERIALIZED (
            SELECT *, is_late OR state < 0.4 AS is_open, rest < 0.6 AS has_due,
                {whole(f"owned * owned * {OWNERS}")} AS place FROM drawn
        )
        INSERT INTO tasks_task (id, owner_id, title, description, status, completed_at, priority, due_on, due_at,
            tags, tag_keys, reminders, version, created_at, updated_at, deleted_at)
        SELECT {words["id"]}, bench_owner.id, 'Task ' || i, substr(bench_owner.text, 1, {whole("rest * 400")}),
            CASE WHEN is_open AND rest < 0.3 THEN 'in_progress' WHEN is_open THEN 'pending' ELSE 'completed' END,
            CASE WHEN NOT is_open THEN {created} END, 1 + i %% 4, {on}, {due}, '[]', '[]', '[]', 1, {created},
            {created}, {deleted}
        FROM made JOIN bench_owner ON bench_owner.place = made.place ORDER BY i"""


def fill(tasks: int, late: int) -> None:
    """People, tasks, and an entry of the log for each."""
    from django.db import connection

    from duely.accounts.models import User
    from duely.core.ids import new_id

    people = [
        User(id=new_id(), username=name, username_key=name, email=name, email_key=name, role="member", created_at=NOW)
        for name in (f"person{number}" for number in range(OWNERS))
    ]
    User.objects.bulk_create(people)
    step = tasks // late
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        else:
            cursor.execute("PRAGMA cache_size = -400000")
        cursor.execute("CREATE TEMPORARY TABLE bench_owner AS SELECT id, 0 AS place, '' AS text FROM accounts_user")
        cursor.execute(
            "UPDATE bench_owner SET text = %s,"
            " place = (SELECT count(*) FROM accounts_user WHERE accounts_user.id < bench_owner.id)",
            ["Bring the papers, call before, and ask about the key. " * 8],
        )
        cursor.execute("CREATE INDEX bench_owner_place ON bench_owner (place)")
        cursor.execute(tasks_sql(connection.vendor), [tasks, step, step * late])
        cursor.execute(LOG)
        cursor.execute(COUNTERS)
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "PRAGMA wal_checkpoint(TRUNCATE)")
    # The sweep begins with a new connection, as a job does.
    connection.close()


def sweep() -> tuple[int, list[float], list[int]]:
    """Calls until nothing is late: tasks, seconds and statements of each call."""
    from django.db import connection

    from duely.tasks.actions import mark_overdue

    numbers: list[int] = []
    seconds: list[float] = []
    statements: list[int] = []
    counted = 0

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal counted
        counted += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        while not numbers or numbers[-1]:
            counted = 0
            begun = time.perf_counter()
            numbers.append(mark_overdue(now=NOW))
            seconds.append(time.perf_counter() - begun)
            statements.append(counted)
    return sum(numbers), seconds, statements


def plan() -> str:
    """How the database finds what is late."""
    from django.db import transaction

    from duely.tasks.queries import late_tasks

    with transaction.atomic():
        return str(late_tasks(NOW, 500).explain())


def main() -> int:
    """Fill, sweep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--late", type=int, default=10_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=10)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as folder, database(wanted.database, folder) as url:
        os.environ |= {"DATABASE_URL": url, "DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "duely.config.settings"}
        from duely.cli.migrate import migrate

        migrate()
        from django.db import connection

        begun = time.perf_counter()
        fill(wanted.tasks, wanted.late)
        print(f"filled in {time.perf_counter() - begun:.0f} s", flush=True)
        print(plan())
        marked, seconds, statements = sweep()
        connection.close()
    print(f"{marked:,} of {wanted.tasks:,} tasks marked in {sum(seconds):.2f} s on {wanted.database}")
    median, longest = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(
        f"{len(seconds)} calls: at most {max(statements)} statements, median {median:.0f} ms, longest {longest:.0f} ms"
    )
    return 0 if marked == wanted.late and sum(seconds) <= wanted.seconds else 1


if __name__ == "__main__":
    sys.exit(main())
