"""The judge of the resilience runs finds each kind of fault, and none where there is none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from tests.resilience.ledger import Attempt, Kind, Outcome, Verb
from tests.resilience.stored import LogRow, Stored, TaskRow
from tests.resilience.verdict import Fault, Seen, judge

OWNER, TASK, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)
Damage = Callable[[Stored], object]


def ledger() -> list[Attempt]:
    """A task made and renamed, and a second renaming whose answer was lost."""
    return [
        Attempt(0, "r1", Verb.CREATE, Kind.TASK, TASK, "first", Outcome.ACKNOWLEDGED, 201),
        Attempt(0, "r2", Verb.UPDATE, Kind.TASK, TASK, "second", Outcome.ACKNOWLEDGED, 200),
        Attempt(0, "r3", Verb.UPDATE, Kind.TASK, TASK, "third", Outcome.UNKNOWN),
        Attempt(0, "r4", Verb.UPDATE, Kind.TASK, TASK, "fourth", Outcome.UNSENT),
    ]


def entry(seq: int, action: str, request_id: str, old: str | None, new: str) -> LogRow:
    return LogRow(OWNER, seq, action, "task", TASK, request_id, {"title": [old, new]})


def stored() -> Stored:
    created = entry(1, "task.created", "r1", None, "first")
    created.changes["status"] = [None, "pending"]
    return Stored(
        tasks={TASK: TaskRow(TASK, OWNER, "second", "pending", None, 2, deleted=False)},
        categories={},
        log=[created, entry(2, "task.updated", "r2", "first", "second")],
        counters={OWNER: 2},
        owners={"someone": OWNER},
    )


def seen(of: Stored) -> dict[UUID, Seen]:
    """What an API that tells the truth would show."""
    tasks: list[dict[str, Any]] = [
        {"id": str(task.id), "title": task.title, "status": task.status, "category": None, "version": task.version}
        for task in of.tasks.values()
        if not task.deleted
    ]
    log: list[dict[str, Any]] = [
        {"seq": row.seq, "action": row.action, "target": {"id": str(row.target)}, "request_id": row.request_id}
        for row in of.log
    ]
    return {OWNER: Seen(tasks, [], log)}


def with_task(database: Stored, **columns: Any) -> None:
    database.tasks[TASK] = replace(database.tasks[TASK], **columns)


def happened(database: Stored) -> None:
    """The write whose answer was lost."""
    with_task(database, title="third", version=3)
    database.log.append(entry(3, "task.updated", "r3", "second", "third"))
    database.counters[OWNER] = 3


def test_a_run_without_faults_is_clean() -> None:
    verdict = judge([ledger()], stored(), seen(stored()))
    assert not any(verdict.faults.values())
    assert verdict.happened == 0


def test_an_unknown_write_may_have_happened() -> None:
    database = stored()
    happened(database)
    verdict = judge([ledger()], database, seen(database))
    assert not any(verdict.faults.values())
    assert verdict.happened == 1


def happened_twice(database: Stored) -> None:
    happened(database)
    with_task(database, version=4)
    database.log.append(entry(4, "task.updated", "r3", "third", "third"))
    database.counters[OWNER] = 4


def unsent_happened(database: Stored) -> None:
    with_task(database, title="fourth", version=3)
    database.log.append(entry(3, "task.updated", "r4", "second", "fourth"))
    database.counters[OWNER] = 3


def swapped(database: Stored) -> None:
    first, second = database.log
    database.log[:] = [replace(second, seq=1), replace(first, seq=2)]


@pytest.mark.parametrize(
    "damage, fault",
    [
        (lambda database: database.tasks.clear(), Fault.LOST),
        (lambda database: with_task(database, title="first"), Fault.LOST),
        (lambda database: with_task(database, deleted=True), Fault.LOST),
        (lambda database: database.log.pop(), Fault.LOST),
        (happened_twice, Fault.DOUBLED),
        (unsent_happened, Fault.STRAY),
        (lambda database: database.tasks.update({OTHER: replace(database.tasks[TASK], id=OTHER)}), Fault.STRAY),
        (lambda database: database.tasks.update({OTHER: replace(database.tasks[TASK], id=OTHER)}), Fault.DOUBLED),
        (lambda database: database.log.pop(), Fault.GAP),
        (lambda database: database.counters.update({OWNER: 3}), Fault.GAP),
        (swapped, Fault.DISORDER),
        (lambda database: with_task(database, version=3), Fault.UNTRUE),
        (lambda database: with_task(database, status="completed"), Fault.UNTRUE),
        (lambda database: database.log[1].changes.update({"title": ["other", "second"]}), Fault.UNTRUE),
    ],
)
def test_damage_is_found(damage: Damage, fault: Fault) -> None:
    database = stored()
    damage(database)
    assert judge([ledger()], database, seen(database)).faults[fault]


@pytest.mark.parametrize("field", ["tasks", "log"])
def test_an_answer_that_differs_from_the_database_is_found(field: str) -> None:
    shown = seen(stored())
    getattr(shown[OWNER], field).pop()
    assert judge([ledger()], stored(), shown).faults[Fault.HIDDEN]
