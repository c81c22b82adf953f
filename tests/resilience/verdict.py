"""Compares the ledger with what is stored: is something lost, done twice, out of order, or from nowhere?"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from tests.resilience.ledger import Attempt, Kind, Outcome, Verb
from tests.resilience.stored import CategoryRow, LogRow, Stored, TaskRow

ACTIONS = {
    (Kind.TASK, Verb.CREATE): {"task.created"},
    (Kind.TASK, Verb.UPDATE): {"task.updated", "task.status_changed"},
    (Kind.TASK, Verb.DELETE): {"task.deleted"},
    (Kind.CATEGORY, Verb.CREATE): {"category.created"},
    (Kind.CATEGORY, Verb.UPDATE): {"category.updated"},
    (Kind.CATEGORY, Verb.DELETE): {"category.deleted"},
}
KINDS = {kind.value for kind in Kind}
TRACKED = {Kind.TASK.value: ("title", "status", "category", "deleted_at"), Kind.CATEGORY.value: ("name",)}


class Fault(StrEnum):
    """What can be wrong."""

    LOST = "lost"  # acknowledged, but not there or not so
    DOUBLED = "doubled"  # one request, two effects
    STRAY = "stray"  # an effect that nobody was told of, or that was refused
    GAP = "seq gaps"  # a log that does not count 1, 2, 3 …
    DISORDER = "out of order"  # a later write with an earlier number
    UNTRUE = "log untrue"  # a log that does not tell how the row came to be what it is
    HIDDEN = "API differs"  # the API shows something else than the database holds


@dataclass(slots=True)
class Verdict:
    """Every fault found, in words, and how many of the unknown writes had happened."""

    faults: dict[Fault, list[str]] = field(default_factory=lambda: {fault: [] for fault in Fault})
    happened: int = 0

    def add(self, fault: Fault, text: str) -> None:
        self.faults[fault].append(text)

    def count(self, fault: Fault) -> int:
        return len(self.faults[fault])


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API shows one account: its tasks, categories and log, in the API's own words."""

    tasks: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    log: list[dict[str, Any]]


def judge(ledgers: Sequence[Sequence[Attempt]], stored: Stored, seen: dict[UUID, Seen]) -> Verdict:
    """Compare everything. ledgers: each writer's attempts in their order. seen: by owner."""
    verdict = Verdict()
    attempts = [attempt for ledger in ledgers for attempt in ledger]
    effects = _effects(stored.log)
    _judge_attempts(verdict, attempts, effects)
    _judge_strays(verdict, attempts, stored)
    _judge_targets(verdict, attempts, stored)
    _judge_sequences(verdict, stored)
    _judge_order(verdict, ledgers, effects)
    _judge_histories(verdict, stored)
    for owner, shown in seen.items():
        _judge_api(verdict, owner, shown, stored)
    return verdict


def _effects(log: Iterable[LogRow]) -> dict[str, list[LogRow]]:
    """The log rows of tasks and categories, by request."""
    effects: dict[str, list[LogRow]] = defaultdict(list)
    for row in log:
        if row.target_type in KINDS:
            effects[row.request_id].append(row)
    return effects


def _own_effects(attempt: Attempt, effects: dict[str, list[LogRow]]) -> list[LogRow]:
    """The log rows that say what this attempt was for, without what followed from it."""
    actions = ACTIONS[attempt.kind, attempt.verb]
    return [
        row
        for row in effects.get(attempt.request_id, ())
        if row.action in actions and attempt.target in {None, row.target}
    ]


def _judge_attempts(verdict: Verdict, attempts: Iterable[Attempt], effects: dict[str, list[LogRow]]) -> None:
    """Exactly one log row for what was acknowledged, at most one for what is unknown, none for the rest."""
    for attempt in attempts:
        number = len(_own_effects(attempt, effects))
        if number > 1:
            verdict.add(Fault.DOUBLED, f"{attempt} is in the log {number} times")
        elif attempt.outcome is Outcome.ACKNOWLEDGED and not number:
            verdict.add(Fault.LOST, f"{attempt} is not in the log")
        elif attempt.outcome is Outcome.UNKNOWN:
            verdict.happened += number
        elif attempt.outcome in {Outcome.REFUSED, Outcome.UNSENT} and effects.get(attempt.request_id):
            verdict.add(Fault.STRAY, f"{attempt} had an effect")
    for request_id, rows in effects.items():
        for (target, action), number in Counter((row.target, row.action) for row in rows).items():
            if number > 1:
                verdict.add(Fault.DOUBLED, f"request {request_id} has {number} times {action} of {target}")


def _judge_strays(verdict: Verdict, attempts: Iterable[Attempt], stored: Stored) -> None:
    """Every effect comes from a request of the ledger, and every row from a log row."""
    known = {attempt.request_id for attempt in attempts}
    created = set()
    for row in stored.log:
        if row.target_type in KINDS and row.request_id not in known:
            verdict.add(Fault.STRAY, f"{row} belongs to no request")
        if row.action in {"task.created", "category.created"}:
            created.add(row.target)
    for stray in (stored.tasks.keys() | stored.categories.keys()) - created:
        verdict.add(Fault.STRAY, f"{stray} is stored, but its creation is not in the log")
    for title, number in Counter(task.title for task in stored.tasks.values()).items():
        if number > 1:
            verdict.add(Fault.DOUBLED, f"{number} tasks are called {title}")


def _judge_targets(verdict: Verdict, attempts: Iterable[Attempt], stored: Stored) -> None:
    """Each thing that was acknowledged is there, under a name that its writer has reason to expect."""
    by_target: dict[UUID, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.target is not None:
            by_target[attempt.target].append(attempt)
    for target, history in by_target.items():
        _judge_target(verdict, target, history, stored)


def _judge_target(verdict: Verdict, target: UUID, history: list[Attempt], stored: Stored) -> None:
    task, category = stored.tasks.get(target), stored.categories.get(target)
    there = (task is not None and not task.deleted) or category is not None
    certain = any(
        attempt.verb is Verb.CREATE and (attempt.outcome is Outcome.ACKNOWLEDGED or attempt.status == 409)
        for attempt in history
    )
    deletions = {attempt.outcome for attempt in history if attempt.verb is Verb.DELETE}
    if Outcome.ACKNOWLEDGED in deletions and there:
        verdict.add(Fault.LOST, f"{target} is there though its deletion was acknowledged")
    if not certain:
        return
    if history[0].kind is Kind.TASK and task is None:
        verdict.add(Fault.LOST, f"task {target} is gone, even from the trash")
    if not there and not deletions & {Outcome.ACKNOWLEDGED, Outcome.UNKNOWN}:
        verdict.add(Fault.LOST, f"{target} is gone though nobody deleted it")
    label = task.title if task else category.name if category else None
    if label is not None and label not in (expected := _possible_labels(history)):
        verdict.add(Fault.LOST, f"{target} is called {label!r}, not one of {sorted(expected)}")


def _possible_labels(history: Iterable[Attempt]) -> set[str]:
    """The last acknowledged label, and those of later writes whose outcome is unknown."""
    possible: set[str] = set()
    late: set[str] = set()
    for attempt in history:
        if attempt.label is None:
            continue
        if attempt.outcome is Outcome.ACKNOWLEDGED or attempt.status == 409:
            possible = {attempt.label}
        elif attempt.outcome is Outcome.UNKNOWN:
            possible.add(attempt.label)
            if attempt.timed_out:
                # Nobody knows when the service was done with it.
                late.add(attempt.label)
    return possible | late


def _judge_sequences(verdict: Verdict, stored: Stored) -> None:
    """Each owner's log counts 1, 2, 3 … up to the owner's counter."""
    numbers: dict[UUID, list[int]] = defaultdict(list)
    for row in stored.log:
        numbers[row.owner].append(row.seq)
    for owner in numbers.keys() | stored.counters.keys():
        found = sorted(numbers[owner])
        last = stored.counters.get(owner, 0)
        if found != list(range(1, last + 1)):
            missing = sorted(set(range(1, last + 1)) - set(found))[:10]
            verdict.add(Fault.GAP, f"{owner}: counter {last}, {len(found)} rows, without {missing}")


def _judge_order(verdict: Verdict, ledgers: Iterable[Sequence[Attempt]], effects: dict[str, list[LogRow]]) -> None:
    """What one writer did one after the other stands in the log in that order."""
    for ledger in ledgers:
        last = 0
        for attempt in ledger:
            rows = _own_effects(attempt, effects) if attempt.outcome is Outcome.ACKNOWLEDGED else []
            for row in rows:
                if row.seq <= last:
                    verdict.add(Fault.DISORDER, f"{attempt} has seq {row.seq}, an earlier write has {last}")
                last = max(last, row.seq)


def _judge_histories(verdict: Verdict, stored: Stored) -> None:
    """Each entry starts from what the one before it left, and the last one leaves what is stored."""
    histories: dict[UUID, list[LogRow]] = defaultdict(list)
    for row in stored.log:
        if row.target_type in KINDS and row.target is not None:
            histories[row.target].append(row)
    for target, history in histories.items():
        found = stored.tasks.get(target) or stored.categories.get(target)
        for complaint in _complaints(history, found):
            verdict.add(Fault.UNTRUE, f"{target}: {complaint}")


def _complaints(history: list[LogRow], found: TaskRow | CategoryRow | None) -> Iterable[str]:
    first, last = history[0], history[-1]
    if first.action != f"{first.target_type}.created":
        yield f"its log begins with {first.action}"
    state: dict[str, Any] = dict.fromkeys(TRACKED[first.target_type])
    for row in history:
        for name in state.keys() & row.changes.keys():
            old, new = row.changes[name]
            if old != state[name]:
                yield f"seq {row.seq} changes {name} from {old!r}, but it was {state[name]!r}"
            state[name] = new
    if found is None:
        if last.action != "category.deleted":
            yield f"it is not stored, but its log ends with {last.action}"
        return
    if found.version != len(history):
        yield f"it has version {found.version} after {len(history)} changes"
    state["deleted"] = state.pop("deleted_at", None) is not None
    if (now := _tracked(found)) != state:
        yield f"it is {now}, but its log leads to {state}"


def _tracked(found: TaskRow | CategoryRow) -> dict[str, Any]:
    if isinstance(found, CategoryRow):
        return {"name": found.name, "deleted": False}
    category = str(found.category) if found.category else None
    return {"title": found.title, "status": found.status, "category": category, "deleted": found.deleted}


def _judge_api(verdict: Verdict, owner: UUID, shown: Seen, stored: Stored) -> None:
    """The API shows each live task, category and log row of this owner, once, as it is stored."""
    tasks = [
        (str(row.id), row.title, row.status, str(row.category) if row.category else None, row.version)
        for row in stored.tasks.values()
        if row.owner == owner and not row.deleted
    ]
    _compare(
        verdict,
        f"tasks of {owner}",
        tasks,
        [(item["id"], item["title"], item["status"], item["category"], item["version"]) for item in shown.tasks],
    )
    counts = Counter(task[3] for task in tasks)
    categories = [
        (str(row.id), row.name, row.version, counts[str(row.id)])
        for row in stored.categories.values()
        if row.owner == owner
    ]
    _compare(
        verdict,
        f"categories of {owner}",
        categories,
        [(item["id"], item["name"], item["version"], item["task_count"]) for item in shown.categories],
    )
    log = [
        (row.seq, row.action, str(row.target) if row.target else None, row.request_id)
        for row in stored.log
        if row.owner == owner
    ]
    _compare(
        verdict,
        f"log of {owner}",
        log,
        [(item["seq"], item["action"], item["target"]["id"], item["request_id"]) for item in shown.log],
    )


def _compare(verdict: Verdict, what: str, expected: list[tuple[Any, ...]], shown: list[tuple[Any, ...]]) -> None:
    missing, extra = Counter(expected) - Counter(shown), Counter(shown) - Counter(expected)
    for difference in missing:
        verdict.add(Fault.HIDDEN, f"{what}: {difference} is stored but not shown")
    for difference in extra:
        verdict.add(Fault.HIDDEN, f"{what}: {difference} is shown but not stored, or shown twice")
