"""Writing the change log, and with it every row that changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

from django.db import connection, transaction

from duely.activity.models import Change
from duely.core.actor import Actor
from duely.core.ids import new_id
from duely.core.records import Statement

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One change to record among several of the same owner."""

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
) -> int:
    """Write one entry of the change log, and with it `write`, the row's own statement.

    actor: None for the system. changes: {field: [old, new]} as the API shows them.
    Runs in the caller's transaction; the owner's counter stays locked until it ends, which is
    what makes `seq` free of gaps and rise in commit order. Returns that `seq`.
    On PostgreSQL the three writes are one statement, so one round trip.
    """
    entry = Entry(action, target, changes or {})
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record() needs a transaction")
    _tell(entry)
    row = _row(actor, entry, at)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            written = (write.sql, *write.params) if write else ("SELECT 1",)
            cursor.execute(_one_statement(written[0]), (*written[1:], _owner(entry), *row))
        else:
            if write:
                cursor.execute(write.sql, write.params)
            cursor.execute(_COUNT + " RETURNING seq", (_owner(entry), 1, 1))
            cursor.execute(_insert_sql(1), (*row, cursor.fetchone()[0]))
        seq = cursor.fetchone()[0]
    return int(seq)


def record_many(
    actor: Actor | None, owner_id: UUID, entries: Sequence[Entry], *, at: datetime, writes: Sequence[Statement] = ()
) -> None:
    """Write several entries of one owner's log in their order, after `writes`."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("record_many() needs a transaction")
    for entry in entries:
        _tell(entry)
    with connection.cursor() as cursor:
        for write in writes:
            cursor.execute(write.sql, write.params)
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            if any(entry.target.change_owner_id != owner_id for entry in batch):
                raise ValueError("all entries must be of one owner")
            cursor.execute(_COUNT + " RETURNING seq", (_owner(batch[0]), len(batch), len(batch)))
            first = cursor.fetchone()[0] - len(batch) + 1
            params = [
                value for offset, entry in enumerate(batch) for value in (*_row(actor, entry, at), first + offset)
            ]
            cursor.execute(_insert_sql(len(batch)), params)


BATCH = 50
_COUNT = (
    "INSERT INTO activity_counter (owner_id, seq) VALUES (%s, %s)"
    " ON CONFLICT (owner_id) DO UPDATE SET seq = activity_counter.seq + %s"
)


def _tell(entry: Entry) -> None:
    for follower in _followers.get(entry.action, ()):
        follower(entry)


@lru_cache(maxsize=1)
def _columns() -> list[Any]:
    """Every column of the log, `seq` last."""
    fields = Change._meta.local_concrete_fields
    return [*(column for column in fields if column.name != "seq"), Change._meta.get_field("seq")]


def _names() -> str:
    return ", ".join(f'"{column.column}"' for column in _columns())


@lru_cache(maxsize=256)
def _one_statement(written: str) -> str:
    """The row's own statement, the counter and the log row as one statement (PostgreSQL)."""
    returning = "" if written.startswith("SELECT") else " RETURNING 1"
    values = ", ".join(f"%s::{column.db_type(connection)}" for column in _columns()[:-1])
    return (
        f"WITH written AS ({written}{returning}), counted AS ("  # noqa: S608
        "INSERT INTO activity_counter (owner_id, seq) VALUES (%s, 1)"
        " ON CONFLICT (owner_id) DO UPDATE SET seq = activity_counter.seq + 1 RETURNING seq)"
        f" INSERT INTO activity_change ({_names()}) SELECT {values}, counted.seq FROM counted RETURNING seq"
    )


@lru_cache(maxsize=BATCH)
def _insert_sql(rows: int) -> str:
    values = "(" + ", ".join(["%s"] * len(_columns())) + ")"
    return f"INSERT INTO activity_change ({_names()}) VALUES {', '.join([values] * rows)} RETURNING seq"  # noqa: S608


def _owner(entry: Entry) -> Any:
    return Change._meta.get_field("owner_id").get_db_prep_save(entry.target.change_owner_id, connection)


def _row(actor: Actor | None, entry: Entry, at: datetime) -> list[Any]:
    """The values of a log row but `seq`, as the database driver takes them."""
    values = {
        "id": new_id(),
        "owner_id": entry.target.change_owner_id,
        "at": at,
        "actor_id": actor.id if actor else None,
        "actor_name": actor.name if actor else "",
        "action": entry.action,
        "target_type": entry.target.change_type,
        "target_id": entry.target.change_id,
        "target_label": entry.target.change_label[:255],
        "changes": entry.changes,
        "ip": actor.origin.ip if actor else None,
        "user_agent": actor.origin.user_agent if actor else "",
        "request_id": actor.origin.request_id if actor else "",
    }
    return [column.get_db_prep_save(values[column.name], connection) for column in _columns()[:-1]]
