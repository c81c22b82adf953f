"""Writes the change log, together with the rows that change (decision 0003)."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper

from duely.activity import anonymous
from duely.activity.models import Change
from duely.activity.models import Counter as OwnerCounter
from duely.core.actor import Actor
from duely.core.errors import QuotaExceeded
from duely.core.ids import new_id
from duely.core.quotas import COUNTED, LIMITS, Stored
from duely.database import compiled
from duely.database.statements import RowChanged, Statement, driver_values, run_all, this_connection

SYSTEM_LOG = UUID(int=0)
"""The owner of entries without a user, such as a failed sign-in with an unknown name."""

Changes = Mapping[str, Sequence[Any]]


class Target(Protocol):
    """The object of a change. `change_owner_id`: the owner of the log. `change_label`: the object's name for people."""

    @property
    def change_type(self) -> str: ...
    @property
    def change_id(self) -> UUID | None: ...
    @property
    def change_owner_id(self) -> UUID: ...
    @property
    def change_label(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Nobody:
    """The target of a change without a row, such as a failed sign-in."""

    change_type: str
    change_id: UUID | None = None
    change_owner_id: UUID = SYSTEM_LOG
    change_label: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One change to record."""

    action: str
    target: Target
    changes: Changes


Follower = Callable[[Entry], None]
_followers: dict[str, list[Follower]] = {}


def follow(action: str, follower: Follower) -> None:
    """Call `follower` for each change of this action, in its transaction, just before the change is written.

    For data that a higher module derives from rows of a lower one. A follower must be fast and write through actions.
    It runs before the counter is locked, so that all transactions lock rows first and the counter last (no deadlocks).
    """
    if follower not in _followers.setdefault(action, []):
        _followers[action].append(follower)


def record(
    actor: Actor | None,
    action: str,
    target: Target,
    *,
    at: datetime,
    changes: Changes | None = None,
    write: Statement | None = None,
    also: Sequence[Statement] = (),
    alone: bool = False,
) -> int:
    """Write one entry of the change log together with `write`, the statement of the changed row, and `also`.

    actor: None for the system. changes: {field: [old, new]} as the API shows them.
    also: statements for dependent rows of other tables. They do not see each other's writes. A conditional `write` has
    none; if its row has changed since it was read, RowChanged is raised.
    alone: there is no other write, so the caller opens no transaction. On PostgreSQL the one statement is its own
    transaction. Otherwise the caller's transaction is used.

    Returns the entry's `seq`, or 0 for an entry that was left out (see `duely.activity.anonymous`). The owner's counter
    stays locked until the transaction ends, so `seq` has no gaps and rises in commit order. Raises QuotaExceeded (403).
    """
    entry = Entry(action, target, changes or {})
    database = this_connection()
    is_one = database.vendor == "postgresql" and action not in _followers
    if alone and not is_one and not database.in_atomic_block:
        with transaction.atomic():
            return record(actor, action, target, at=at, changes=changes, write=write, also=also)
    if not alone and not database.in_atomic_block:
        raise transaction.TransactionManagementError("record() needs a transaction")
    if _is_anonymous(entry):
        admitted = _admitted(entry, at)
        if admitted is None:
            return 0
        entry = admitted
    _call_followers(entry)
    row = _row(_shared(actor, at), entry)
    writes = (write, *also) if write else tuple(also)
    if database.vendor == "postgresql":
        values = itertools.chain.from_iterable([statement.params for statement in writes])
        # One round trip instead of three or four for each write (decision 0019).
        sql = _one_statement(
            tuple([statement.sql for statement in writes]), bool(write and write.is_conditional), COUNTED.get(action)
        )
        try:
            seqs = compiled.fetch_rows(database, sql, (*values, row[OWNER], *row))
        except IntegrityError as fault:
            raise _quota_or(fault) from fault
        if not seqs:
            raise RowChanged
        return int(seqs[0][0])
    for statement in writes:
        sql = f"{statement.sql} RETURNING 1" if statement.is_conditional else statement.sql
        if not compiled.fetch_rows(database, sql, statement.params) and statement.is_conditional:
            raise RowChanged
    try:
        [(_, seq)] = compiled.fetch_rows(
            database, _counting("VALUES (%s, 1{more})", COUNTED.get(action)), (row[OWNER],)
        )
    except IntegrityError as fault:
        raise _quota_or(fault) from fault
    compiled.fetch_rows(database, _insert_sql(1), (*row, seq))
    return int(seq)


def record_many(
    actor: Actor | None, entries: Sequence[Entry], *, at: datetime, writes: Sequence[Statement] = ()
) -> None:
    """Run `writes`, then write several entries. The entries of one owner keep their order.

    Runs in the caller's transaction. Counters are locked in the order of their owners, so that two transactions for the
    same owners cannot deadlock. Each batch takes two statements. Neighbouring writes that differ only in their values
    take one. Raises QuotaExceeded (403).
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record_many() needs a transaction")
    if any(map(_is_anonymous, entries)):
        admitted = [_admitted(entry, at) if _is_anonymous(entry) else entry for entry in entries]
        entries = [entry for entry in admitted if entry is not None]
    for entry in entries:
        _call_followers(entry)
    shared = _shared(actor, at)
    by_owner = sorted(entries, key=lambda entry: entry.target.change_owner_id)
    run_all(writes)
    with connection.cursor() as cursor:
        for start in range(0, len(by_owner), BATCH):
            batch = by_owner[start : start + BATCH]
            rows = [_row(shared, entry) for entry in batch]
            numbers = _numbers(cursor, [row[OWNER] for row in rows], [entry.action for entry in batch])
            params = [value for row, seq in zip(rows, numbers, strict=True) for value in (*row, seq)]
            cursor.execute(_insert_sql(len(batch)), params)


def _numbers(cursor: CursorWrapper, owners: Sequence[Any], actions: Sequence[str]) -> Iterator[int]:
    """Raise the counters of the owners. Yields the next number in the log of each item of `owners`, in order.

    actions: the action of each item. Those in COUNTED also change the numbers of stored tasks and categories.
    """
    entries_of = Counter(owners)
    if COUNTED.keys().isdisjoint(actions):
        placeholders = ", ".join(["(%s, %s)"] * len(entries_of))
        cursor.execute(_counting(f"VALUES {placeholders}"), [value for pair in entries_of.items() for value in pair])
    else:
        stored: Counter[tuple[Any, str]] = Counter()
        for owner, action in zip(owners, actions, strict=True):
            if action in COUNTED:
                stored[owner, COUNTED[action].kind] += COUNTED[action].by
        placeholders = ", ".join([f"(%s, %s{', %s' * len(LIMITS)})"] * len(entries_of))
        params: list[Any] = []
        for owner, number in entries_of.items():
            params += [owner, number, *(stored[owner, kind] for kind in LIMITS)]
        try:
            cursor.execute(_counting_all(placeholders), params)
        except IntegrityError as fault:
            raise _quota_or(fault) from fault
    next_numbers = {owner: itertools.count(last - entries_of[owner] + 1) for owner, last in cursor.fetchall()}
    return (next(next_numbers[owner]) for owner in owners)


def count_background(owner_id: UUID, by: int) -> None:
    """Add `by` to the number of running jobs that change the owner's data, each with one entry in the log at its end.

    While the number is above 0, the owner's lists have no entity tag, because they change without a new `seq`
    (decision 0035). Runs in the caller's transaction.
    """
    key = driver_values([(OwnerCounter._meta.pk, owner_id)], this_connection())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activity_counter (owner_id, seq, background) VALUES (%s, 0, %s) ON CONFLICT (owner_id)"
            " DO UPDATE SET background = activity_counter.background + excluded.background",
            [*key, by],
        )


BATCH = 500
"""Entries in one statement. With 14 values each they stay far below SQLite's limit of 32,766 values."""


def _counting(owners: str, stored: Stored | None = None) -> str:
    """The statement that raises counters. owners: SQL that returns each owner once, with its number of entries.

    stored: the change in stored tasks or categories; its number replaces `{more}` in `owners`. The limit is stored
    together with an addition, and a constraint enforces it (decision 0036).
    """
    column = value = change = ""
    if stored is not None:
        kind = stored.kind
        column, value = f", {kind}", f", {stored.by}"
        change = f", {kind} = activity_counter.{kind} + excluded.{kind}"
        change += f", {kind}_limit = {LIMITS[kind]}" if stored.by > 0 else ""
    return (
        f"INSERT INTO activity_counter (owner_id, seq{column}) {owners.replace('{more}', value)}"
        f" ON CONFLICT (owner_id) DO UPDATE SET seq = activity_counter.seq + excluded.seq{change}"
        " RETURNING owner_id, seq"
    )


def _counting_all(placeholders: str) -> str:
    """The statement that raises counters and the numbers of all kinds of stored objects."""
    changes = "".join(
        f", {kind} = activity_counter.{kind} + excluded.{kind}"
        f", {kind}_limit = CASE WHEN excluded.{kind} > 0 THEN {limit} ELSE activity_counter.{kind}_limit END"
        for kind, limit in LIMITS.items()
    )
    return (
        f"INSERT INTO activity_counter (owner_id, seq, {', '.join(LIMITS)}) VALUES {placeholders}"  # noqa: S608
        f" ON CONFLICT (owner_id) DO UPDATE SET seq = activity_counter.seq + excluded.seq{changes}"
        " RETURNING owner_id, seq"
    )


def _quota_or(fault: IntegrityError) -> Exception:
    """QuotaExceeded if the error is from a constraint of a quota; otherwise the error itself."""
    for kind, limit in LIMITS.items():
        if f"activity_counter_{kind}" in str(fault):
            return QuotaExceeded(kind, limit)
    return fault


def _is_anonymous(entry: Entry) -> bool:
    """Whether the entry is about a caller without an account, in the system's log."""
    target = entry.target
    return isinstance(target, Nobody) and target.change_owner_id == SYSTEM_LOG and target.change_type in _ANONYMOUS


_ANONYMOUS = frozenset({"user", "address"})


def _admitted(entry: Entry, at: datetime) -> Entry | None:
    """The entry within the hourly limit; for the first one beyond it an entry that says so; for others None."""
    excess = anonymous.excess(entry.action, at)
    if excess == 1:
        return Entry("security.entries_left_out", Nobody("log"), {"limit": [None, anonymous.window.most]})
    return None if excess else entry


def _call_followers(entry: Entry) -> None:
    for follower in _followers.get(entry.action, ()):
        follower(entry)


OWN = ("id", "owner_id", "action", "target_type", "target_id", "target_label", "changes")
SHARED = ("at", "actor_id", "actor_name", "user_agent", "request_id", "ip")
"""Columns of the log: those of each entry, and those that are the same for all entries of one call."""
OWNER = OWN.index("owner_id")


@lru_cache(maxsize=1)
def _columns() -> list[Any]:
    """All columns of the log, `seq` last."""
    return [Change._meta.get_field(name) for name in (*OWN, *SHARED, "seq")]


def _names() -> str:
    return ", ".join(f'"{column.column}"' for column in _columns())


@lru_cache(maxsize=256)
def _one_statement(writes: tuple[str, ...], is_conditional: bool, stored: Stored | None) -> str:
    """The writes, the counter and the log row as one statement, for PostgreSQL (decision 0019).

    The counter reads from the writes, so that PostgreSQL locks it last; it executes writes that nothing reads at the
    end. is_conditional: count and log only if the first statement has changed a row.
    """
    written = "".join(f"written{number} AS ({sql} RETURNING 1), " for number, sql in enumerate(writes))
    values = ", ".join(f"%s::{column.db_type(connection)}" for column in _columns()[:-1])
    if is_conditional:
        owner = "SELECT %s::uuid, 1{more} FROM written0"
    else:
        after = [f"(SELECT count(*) FROM written{number}) >= 0" for number in range(len(writes))]  # noqa: S608
        owner = f"SELECT %s::uuid, 1{{more}} WHERE {' AND '.join(after) or 'true'}"
    counted = _counting(owner, stored)
    return (
        f"WITH {written}counted AS ({counted})"  # noqa: S608
        f" INSERT INTO activity_change ({_names()}) SELECT {values}, counted.seq FROM counted RETURNING seq"
    )


@lru_cache(maxsize=16)
def _insert_sql(rows: int) -> str:
    values = "(" + ", ".join(["%s"] * len(_columns())) + ")"
    return f"INSERT INTO activity_change ({_names()}) VALUES {', '.join([values] * rows)} RETURNING seq"  # noqa: S608


def _shared(actor: Actor | None, at: datetime) -> list[Any]:
    """The values of SHARED, prepared for the database driver."""
    if actor is None:
        values: tuple[Any, ...] = (at, None, "", "", "", None)
    else:
        origin = actor.origin
        values = (at, actor.id, actor.name, origin.user_agent, origin.request_id, origin.ip)
    return driver_values(zip(_shared_columns(), values, strict=True), this_connection())


def _row(shared: Sequence[Any], entry: Entry) -> list[Any]:
    """The values of a log row without `seq`, prepared for the database driver."""
    target = entry.target
    values = (
        new_id(),
        target.change_owner_id,
        entry.action,
        target.change_type,
        target.change_id,
        target.change_label[:255],
        entry.changes,
    )
    return [*driver_values(zip(_own_columns(), values, strict=True), this_connection()), *shared]


@lru_cache(maxsize=1)
def _own_columns() -> list[Any]:
    return _columns()[: len(OWN)]


@lru_cache(maxsize=1)
def _shared_columns() -> list[Any]:
    # The address is canonical text already. Its field would parse it and the driver would format it for each entry.
    return [None if column.name == "ip" else column for column in _columns()[len(OWN) : -1]]
