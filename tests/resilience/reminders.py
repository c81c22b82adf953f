"""Reminders that were promised, the mails that came of them, and what the queue says about both."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from tests.resilience.stored import Query
from tests.resilience.writers import Answer, Client
from tests.smtp_server import Received

SUBJECT = "Reminder: "
DELIVER = "notifications.deliver"
AHEAD_SECONDS = 2.0
# What a killed worker leaves behind, a process that runs one job alone, is ended by the supervisor 3 s later at most.
NOTED_LATE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Promise:
    """One reminder of one task at one instant for one person. Its title is unique.

    certain: acknowledged before the instant; of others nobody knows whether they were in the past already.
    """

    title: str
    task: UUID | None
    at: float
    recipient: str
    certain: bool


class Book:
    """The promises, as clients were given them."""

    def __init__(self) -> None:
        self._promises: dict[str, Promise] = {}
        self._lock = threading.Lock()

    def add(self, promise: Promise) -> None:
        """Enter one."""
        with self._lock:
            self._promises[promise.title] = promise

    def __len__(self) -> int:
        return len(self._promises)

    @property
    def promises(self) -> dict[str, Promise]:
        """All of them by title."""
        with self._lock:
            return dict(self._promises)


def ask_for_reminder(client: Client, token: str, book: Book, *, title: str, recipient: str) -> Answer:
    """Make a task with a reminder that is due soon, and enter it. Raises NoConnection, NoAnswer."""
    at = datetime.now(UTC) + timedelta(seconds=AHEAD_SECONDS)
    body = {"title": title, "reminders": [at.isoformat().replace("+00:00", "Z")]}
    uncertain = Promise(title, None, at.timestamp(), recipient, certain=False)
    book.add(uncertain)
    answer = client.call("POST", "tasks/", body, Authorization=f"Bearer {token}")
    if answer.status == HTTPStatus.CREATED:
        in_time = time.time() < at.timestamp()
        book.add(Promise(title, UUID(answer.body["id"]), at.timestamp(), recipient, certain=in_time))
    return answer


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail that the server took."""

    message_id: str
    title: str
    recipient: str
    taken_at: float

    @property
    def notice(self) -> UUID:
        """The notice that it was sent for."""
        return UUID(self.message_id.strip("<>").partition("@")[0].removeprefix("reminder."))


def arrivals(received: Iterable[Received]) -> list[Arrival]:
    """The mails that the server took, in their order."""
    found = []
    for mail in received:
        message = mail.message
        if str(message["Message-ID"]).startswith("<account."):
            continue  # the link that new accounts are sent
        title = str(message["Subject"]).removeprefix(SUBJECT)
        found.append(Arrival(str(message["Message-ID"]), title, mail.recipients[0], mail.taken_at))
    return found


@dataclass(slots=True)
class Account:
    """What became of the promises. `doubled`: for each mail that came more than once, its arrivals."""

    arrived: int = 0
    lost: list[Promise] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    doubled: list[list[Arrival]] = field(default_factory=list)


def settle(promises: Mapping[str, Promise], mails: Sequence[Arrival], *, refused: frozenset[str]) -> Account:
    """Compare the promises with the mails. refused: recipients that the server refuses for good."""
    account = Account()
    by_title: dict[str, list[Arrival]] = defaultdict(list)
    for mail in mails:
        by_title[mail.title].append(mail)
    for title, found in by_title.items():
        promise = promises.get(title)
        if promise is None or {mail.recipient for mail in found} != {promise.recipient}:
            account.wrong.append(f"{title!r} came to {sorted({mail.recipient for mail in found})}, promised: {promise}")
        if len({mail.message_id for mail in found}) > 1:
            account.wrong.append(f"{title!r} came under several ids: {[mail.message_id for mail in found]}")
        elif len(found) > 1:
            account.doubled.append(sorted(found, key=lambda mail: mail.taken_at))
    for title, promise in promises.items():
        if promise.recipient in refused:
            continue
        account.arrived += title in by_title
        if promise.certain and title not in by_title:
            account.lost.append(promise)
    return account


def missing(promises: Mapping[str, Promise], received: Sequence[Received], *, refused: frozenset[str]) -> int:
    """How many promises were not kept yet, told quickly: by the subject lines alone."""
    marker = f"Subject: {SUBJECT}".encode()
    subjects = {mail.content.partition(marker)[2].partition(b"\r\n")[0].decode() for mail in received}
    wanted = (promise for promise in promises.values() if promise.certain and promise.recipient not in refused)
    return sum(promise.title not in subjects for promise in wanted)


@dataclass(frozen=True, slots=True)
class Noted:
    """What the database has about one notice."""

    attempts: int
    attempted_at: float | None
    outcome: str


def notices(ask: Query) -> dict[UUID, Noted]:
    """Every notice."""
    rows = ask("SELECT id, attempts, attempted_at, outcome FROM notifications_notice")
    return {_uuid(id_): Noted(attempts, _seconds(at), outcome) for id_, attempts, at, outcome in rows}


def held_by(ask: Query, pid: int) -> set[UUID]:
    """The notices whose mail this worker, by now dead, had not noted as sent.

    What ran alone, in a process beside it, may have put its job back meanwhile.
    """
    rows = ask(
        "SELECT args FROM jobs_job"
        f" WHERE name = '{DELIVER}' AND state IN ('running', 'waiting') AND worker LIKE '%:{pid}'"
    )
    return {UUID((json.loads(args) if isinstance(args, str) else args)["notice_id"]) for (args,) in rows}


def jobs_by_state(ask: Query) -> dict[str, int]:
    """How many mails are waiting, running, done or dead."""
    return dict(ask(f"SELECT state, count(*) FROM jobs_job WHERE name = '{DELIVER}' GROUP BY state"))


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
