"""Writing the change log, and with it every row that changes."""

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
"""The owner of entries that belong to nobody: a failed sign-in under a name that does not exist."""

Changes = Mapping[str, Sequence[Any]]


class Target(Protocol):
    """What a change can be of. `owner_id` says in whose log it stands, `label` what people call it."""

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
    """The target of a change that is of no row, such as a sign-in that failed."""

    change_type: str
    change_id: UUID | None = None
    change_owner_id: UUID = SYSTEM_LOG
    change_label: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One change to record, perhaps among several."""

    action: str
    target: Target
    changes: Changes


Follower = Callable[[Entry], None]
_followers: dict[str, list[Follower]] = {}


def follow(action: str, follower: Follower) -> None:
    """Call `follower` inside the transaction of each change of this action, just before it is written.

    For what a higher module derives from a lower one's rows. It must be quick and write through actions. It comes
    before the counter is locked, so that everyone takes their locks in one order: rows first, the counter last.
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
    """Write one entry of the change log, and with it `write`, the row's own statement, and what follows from it.

    actor: None for the system. changes: {field: [old, new]} as the API shows them. also: statements for rows of other
    tables that hang on the row; none of them sees what another one writes. With a conditional `write` there are none,
    and RowChanged is raised when it finds its row changed. alone: nothing else belongs to the
    transaction, so the caller has opened none; on PostgreSQL the one statement is a transaction by itself.
    Else it runs in the caller's transaction; the owner's counter stays locked until it ends, which is
    what makes `seq` free of gaps and rise in commit order. Returns that `seq`; 0 for an entry that was left out, as
    `duely.activity.anonymous` says.
    On PostgreSQL all these writes are one statement, so one round trip. Raises QuotaExceeded (403).
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
    _tell(entry)
    row = _row(_shared(actor, at), entry)
    writes = (write, *also) if write else tuple(also)
    if database.vendor == "postgresql":
        values = itertools.chain.from_iterable([each.params for each in writes])
        # One round trip instead of three or four for each write (decision 0019).
        sql = _one_statement(
            tuple([each.sql for each in writes]), bool(write and write.is_conditional), COUNTED.get(action)
        )
        try:
            numbered = compiled.fetch_rows(database, sql, (*values, row[OWNER], *row))
        except IntegrityError as fault:
            raise _quota_or(fault) from fault
        if not numbered:
            raise RowChanged
        return int(numbered[0][0])
    for each in writes:
        sql = f"{each.sql} RETURNING 1" if each.is_conditional else each.sql
        if not compiled.fetch_rows(database, sql, each.params) and each.is_conditional:
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
    """Write several entries after `writes`: into each owner's log in their order.

    Runs in the caller's transaction. Counters are locked in the order of their owners, also from one batch to the
    next: two who record for the same owners wait for each other, never both at once. Each batch costs two statements.
    Writes that are alike but for their values, and side by side, cost one. Raises QuotaExceeded (403).
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record_many() needs a transaction")
    if any(map(_is_anonymous, entries)):
        admitted = [_admitted(entry, at) if _is_anonymous(entry) else entry for entry in entries]
        entries = [entry for entry in admitted if entry is not None]
    for entry in entries:
        _tell(entry)
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
    """The next numbers in the logs of these owners, one for each time that an owner is named with an action."""
    counted = Counter(owners)
    if COUNTED.keys().isdisjoint(actions):
        marks = ", ".join(["(%s, %s)"] * len(counted))
        cursor.execute(_counting(f"VALUES {marks}"), [value for pair in counted.items() for value in pair])
    else:
        stored: Counter[tuple[Any, str]] = Counter()
        for owner, action in zip(owners, actions, strict=True):
            if action in COUNTED:
                stored[owner, COUNTED[action].kind] += COUNTED[action].by
        marks = ", ".join([f"(%s, %s{', %s' * len(LIMITS)})"] * len(counted))
        params = [
            value
            for owner, number in counted.items()
            for value in (owner, number, *(stored[owner, kind] for kind in LIMITS))
        ]
        try:
            cursor.execute(_counting_all(marks), params)
        except IntegrityError as fault:
            raise _quota_or(fault) from fault
    free = {owner: itertools.count(last - counted[owner] + 1) for owner, last in cursor.fetchall()}
    return (next(free[owner]) for owner in owners)


def count_background(owner_id: UUID, by: int) -> None:
    """Note that so many more jobs change things of this owner, each with one entry in the log at its end.

    As long as there are some, lists of theirs have no entity tag: what they show changes without a number in the log.
    Runs in the caller's transaction.
    """
    key = driver_values([(OwnerCounter._meta.pk, owner_id)], this_connection())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activity_counter (owner_id, seq, background) VALUES (%s, 0, %s) ON CONFLICT (owner_id)"
            " DO UPDATE SET background = activity_counter.background + excluded.background",
            [*key, by],
        )


BATCH = 500
"""Entries in one statement. With 14 values each that is far below the 32,766 that SQLite takes."""


def _counting(owners: str, stored: Stored | None = None) -> str:
    """The statement that raises counters. owners: SQL that gives each owner once, with by how much.

    stored: what is stored with it; its number takes the place of `{more}` in `owners`. The limit is set with what is
    added, so that a constraint refuses what is too many.
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


def _counting_all(marks: str) -> str:
    """As `_counting`, with every kind of stored things. marks: those of the values of each owner."""
    changes = "".join(
        f", {kind} = activity_counter.{kind} + excluded.{kind}"
        f", {kind}_limit = CASE WHEN excluded.{kind} > 0 THEN {limit} ELSE activity_counter.{kind}_limit END"
        for kind, limit in LIMITS.items()
    )
    return (
        f"INSERT INTO activity_counter (owner_id, seq, {', '.join(LIMITS)}) VALUES {marks}"  # noqa: S608
        f" ON CONFLICT (owner_id) DO UPDATE SET seq = activity_counter.seq + excluded.seq{changes}"
        " RETURNING owner_id, seq"
    )


def _quota_or(fault: IntegrityError) -> Exception:
    """The refusal, when a counter has reached its limit; else the fault itself."""
    for kind, limit in LIMITS.items():
        if f"activity_counter_{kind}" in str(fault):
            return QuotaExceeded(kind, limit)
    return fault


def _is_anonymous(entry: Entry) -> bool:
    """Whether it is of no row and stands in nobody's log: what people without an account have tried."""
    target = entry.target
    return isinstance(target, Nobody) and target.change_owner_id == SYSTEM_LOG and target.change_type in _ANONYMOUS


_ANONYMOUS = frozenset({"user", "address"})


def _admitted(entry: Entry, at: datetime) -> Entry | None:
    """The entry, the one that says that some were left out, or nothing."""
    excess = anonymous.excess(entry.action, at)
    if excess == 1:
        return Entry("security.entries_left_out", Nobody("log"), {"limit": [None, anonymous.window.most]})
    return None if excess else entry


def _tell(entry: Entry) -> None:
    for follower in _followers.get(entry.action, ()):
        follower(entry)


OWN = ("id", "owner_id", "action", "target_type", "target_id", "target_label", "changes")
SHARED = ("at", "actor_id", "actor_name", "user_agent", "request_id", "ip")
"""Columns of the log: those of one entry, and those that all entries of one actor at one time have in common."""
OWNER = OWN.index("owner_id")


@lru_cache(maxsize=1)
def _columns() -> list[Any]:
    """Every column of the log, `seq` last."""
    return [Change._meta.get_field(name) for name in (*OWN, *SHARED, "seq")]


def _names() -> str:
    return ", ".join(f'"{column.column}"' for column in _columns())


@lru_cache(maxsize=256)
def _one_statement(writes: tuple[str, ...], is_conditional: bool, stored: Stored | None) -> str:
    """The row's own statement and its followers, the counter and the log row as one statement (PostgreSQL).

    The counter looks at what was written, so as to be locked last: what nobody looks at PostgreSQL executes at the end.
    is_conditional: nothing is counted and logged unless the first one has written.
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
    """The values of SHARED, as the database driver takes them."""
    if actor is None:
        values: tuple[Any, ...] = (at, None, "", "", "", None)
    else:
        origin = actor.origin
        values = (at, actor.id, actor.name, origin.user_agent, origin.request_id, origin.ip)
    return driver_values(zip(_shared_columns(), values, strict=True), this_connection())


def _row(shared: Sequence[Any], entry: Entry) -> list[Any]:
    """The values of a log row but `seq`, as the database driver takes them."""
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
    # The address goes as text, in its usual form already: the field would read it, and the driver write it, each time.
    return [None if column.name == "ip" else column for column in _columns()[len(OWN) : -1]]
