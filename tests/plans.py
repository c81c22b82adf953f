"""How the database gets at what a call asks for: the plans of its statements, and what is wrong with them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

GROWING = (
    *("tasks_task", "tasks_words", "tasks_category", "tasks_reminder", "activity_change", "activity_counter"),
    *("accounts_session", "accounts_user", "jobs_job"),
)
"""The tables that grow with people, tasks or changes."""
KEY = r"\b(id|task_id|owner_id|user_id|category_id|target_id|rowid|words)\b"
"""What takes an index to the rows of one owner, or to one row."""
WHEN = rf"{KEY}|\b(due_at|deleted_at|remind_at|run_at|lease_until)\b"
"""The same, or to those whose time has come."""
ANYWHERE = ""
"""For lists of everyone's rows: they begin where their order does."""
STEADY = re.compile(r"(^|\.)(id|seq|at|\w+_at)$")
"""Columns of which hardly two rows have the same value: rows that are in their order are as good as sorted."""
BOUNDED = 200
"""Rows that may be sorted: as many as two of the longest pages have."""
EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Executed:
    """A statement as it was handed to the database driver."""

    sql: str
    params: Any


@dataclass(frozen=True)
class Plan:
    """What the database says of how it would execute a statement."""

    sql: str
    steps: Any

    def __str__(self) -> str:
        return f"{self.sql}\n{json.dumps(self.steps, indent=1)}"


def faults(call: Callable[[], object], *, by: str = KEY) -> dict[str, Plan]:
    """What is wrong with the plans of a call's statements: the fault, and a plan that has it.

    Looks at the plans for the values of this call and, of statements that PostgreSQL keeps prepared, at those for any
    values too. by: what takes an index to where rows are, as a pattern of columns.
    """
    find = _postgresql_faults if connection.vendor == "postgresql" else _sqlite_faults
    return {fault: plan for plan in plans_of(call) for fault in find(plan, by)}


def plans_of(call: Callable[[], object]) -> list[Plan]:
    """Those of all statements of a call."""
    executed: list[Executed] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(EXPLAINED):
            executed.extend(Executed(sql, values) for values in (params if many else [params]))
        return execute(sql, params, many, context)

    before = _prepared()
    with CaptureQueriesContext(connection), connection.execute_wrapper(note):
        call()
    assert executed
    return [
        *map(_plan, executed),
        *_plans_for_any([name for name, times in _prepared().items() if times != before.get(name)]),
    ]


def _prepared() -> dict[str, int]:
    """What PostgreSQL keeps prepared on this connection, and how often it has executed each."""
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, generic_plans + custom_plans FROM pg_prepared_statements")
        return dict(cursor.fetchall())


def _plan(statement: Executed) -> Plan:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.params)
            return Plan(statement.sql, cursor.fetchone()[0][0]["Plan"])
        cursor.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params)
        return Plan(statement.sql, [line for *_, line in cursor.fetchall()])


def _plans_for_any(names: list[str]) -> Iterator[Plan]:
    """The plans that serve whatever values: after a few executions PostgreSQL may keep to those."""
    if not names:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements")
        kept = {name: rest for name, *rest in cursor.fetchall()}
        cursor.execute("SET plan_cache_mode = force_generic_plan")
        for name in names:
            sql, width = kept[name]
            values = f"({', '.join(['NULL'] * width)})" if width else ""
            cursor.execute(f'EXPLAIN (FORMAT JSON) EXECUTE "{name}" {values}')
            yield Plan(sql, cursor.fetchone()[0][0]["Plan"])
        cursor.execute("RESET plan_cache_mode")


def _postgresql_faults(plan: Plan, by: str) -> Iterator[str]:
    nodes = [plan.steps]
    while nodes:
        node = nodes.pop()
        below, table, index = node.get("Plans", []), node.get("Relation Name"), node.get("Index Name", "")
        nodes += below
        if node["Node Type"] == "Seq Scan" and table in GROWING:
            yield f"reads all of {table}"
        is_sort = "Sort" in node["Node Type"] and not any(map(STEADY.search, node.get("Presorted Key", [])))
        if is_sort and below[0]["Plan Rows"] > BOUNDED:
            yield "sorts"
        if index.startswith(GROWING) and not re.search(by, node.get("Index Cond", "")):
            yield f"walks through {index}"


STEP = re.compile(
    r"(SCAN|SEARCH) (?P<name>\w+)( USING ((?P<auto>AUTOMATIC)|.*INDEX (?P<index>\w+)|INTEGER PRIMARY KEY)(?P<at>.*))?"
)


def _sqlite_faults(plan: Plan, by: str) -> Iterator[str]:
    is_steady = False
    for step in plan.steps:
        if step.endswith("ORDER BY") and not (is_steady and "PART" in step):
            yield "sorts"
        found = STEP.match(step)
        if not found or (table := _table(found["name"], plan.sql)) not in GROWING:
            continue
        is_steady = False
        if found["at"] is None or found["auto"]:
            yield f"reads all of {table}"
        elif not re.search(by, found["at"]):
            yield f"walks through {found['index']}"
        elif found["index"]:
            is_steady = _comes_steadily(found["index"], found["at"].count("=?"))


def _comes_steadily(index: str, bound: int) -> bool:
    """Whether the column behind those that are bound to one value is all that rows need to be sorted by."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name FROM pragma_index_info('{index}') WHERE seqno = {bound}")
        ((name,),) = cursor.fetchall() or [("",)]
    return bool(STEADY.search(name))


def _table(name: str, sql: str) -> str:
    """The table that a name stands for."""
    found = re.search(rf'(?:FROM|JOIN)\s+"?(\w+)"?\s+(?:AS\s+)?"?{name}"?(?!\w)', sql)
    return found[1] if found and name not in GROWING else name
