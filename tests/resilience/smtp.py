"""A mail server in every kind of trouble while people use the API: what do they notice, and do all mails arrive?

    .venv/bin/python -m tests.resilience.smtp --database sqlite --seed 1

Each fault lasts for a while; then the server is well again, and all that was due meanwhile must arrive before the next.
One of the recipients is refused for good (550) all the time. Prints what is wrong, and as the last line the figures as
JSON. Exit code 0 when nothing is wrong; how long answers took is only told.
Linux only. Everything is on the loopback, in a temporary directory, and gone afterwards.

The waits before another try, the limits of a step with the mail server and the clock of reminders are shortened in the
service's processes (see impatient.py), so that a minute here is like an hour elsewhere. There is no setting for that.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.resilience import impatient, writers
from tests.resilience.pace import Call, Caller, percentile_ms, ratio, within
from tests.resilience.reminders import (
    NOTED_LATE_SECONDS,
    Account,
    Arrival,
    Book,
    Noted,
    Promise,
    arrivals,
    ask_for_reminder,
    jobs_by_state,
    missing,
    notices,
    settle,
)
from tests.resilience.service import HOST, Service, ServiceFailed, database, free_port
from tests.resilience.stored import examine, opened
from tests.resilience.writers import Client, Outage, sign_in, sign_up, verify
from tests.smtp_server import CERTIFICATE, Drop, DropInText, SmtpServer, Stall, Step
from tests.smtp_server import Fault as SmtpFault

HURRY = {"retry": 0.5, "clock": 1.0, "step": 1.0, "mails": 1_000_000}
CLIENTS = ("ada", "grace", "gone")
GONE = "gone@example.org"
REFUSED = frozenset({GONE})
EVERY_SECONDS = 0.1
READ, WRITE = "read", "write"
WELL_SECONDS = 20.0
RECOVERY_SECONDS = 90.0
TARPIT_SECONDS = 60.0
UNCONFIRMED = "drop after DATA"
SHOWN = 10


class Recipients:
    """What the server says to recipients: 550 to one of them, counted; to others what is wrong now.

    is_gone: whether that one is refused already; before, they can verify their address.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.is_gone = False
        self.others: str | None = None

    def __call__(self, argument: str) -> str | None:
        if self.is_gone and GONE in argument:
            self.refused += 1
            return "550 5.1.1 No such user"
        return self.others


@dataclass(slots=True)
class MailServer:
    """The server and its troubles."""

    sink: SmtpServer
    recipients: Recipients = field(default_factory=Recipients)

    @contextmanager
    def trouble(self, name: str) -> Iterator[None]:
        """Be in this kind of trouble for as long as the context lasts."""
        with TROUBLES[name](self):
            yield

    @contextmanager
    def _down(self) -> Iterator[None]:
        self.sink.stop()
        try:
            yield
        finally:
            self.sink.start()

    @contextmanager
    def _faulty(self, step: Step, fault: SmtpFault) -> Iterator[None]:
        self.sink.faults[step] = fault
        try:
            yield
        finally:
            del self.sink.faults[step]

    @contextmanager
    def _refusing(self, answer: str | None) -> Iterator[None]:
        self.recipients.others = answer
        try:
            yield
        finally:
            self.recipients.others = None

    @contextmanager
    def _in_plain_text(self) -> Iterator[None]:
        self.sink.starttls = False
        try:
            yield
        finally:
            self.sink.starttls = True


TROUBLES: Mapping[str, Callable[[MailServer], Any]] = {
    "refused": lambda server: server._down(),
    "421 at greeting": lambda server: server._faulty(Step.CONNECT, "421 4.3.2 Not now"),
    "450": lambda server: server._refusing("450 4.2.0 Mailbox busy"),
    "550 for some": lambda server: server._refusing(None),
    "tarpit": lambda server: server._faulty(Step.CONNECT, Stall(TARPIT_SECONDS)),
    "drop mid-way": lambda server: server._faulty(Step.DATA, DropInText()),
    UNCONFIRMED: lambda server: server._faulty(Step.MESSAGE, Drop()),
    "no STARTTLS": lambda server: server._in_plain_text(),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A time with one kind of trouble, or none. connections: that the mail server saw in it."""

    name: str
    start: float
    end: float
    connections: int
    recovery_seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """What happened in one run."""

    well: list[Phase] = field(default_factory=list)
    troubles: list[Phase] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)


class Person:
    """Someone who reads and writes, one call at a time. A fifth of the calls is a new task with a reminder."""

    def __init__(self, name: str, *, client: Client, book: Book, sink: SmtpServer, seed: int) -> None:
        self._account = writers.Account(name)
        self._book = book
        self._random = random.Random(f"{seed}/{name}")
        self._tasks: list[UUID] = []
        self._number = 0
        sign_up(client, self._account)
        verify(client, self._account, sink.received)
        self._token = sign_in(client, self._account)["access"]

    def turn(self, client: Client) -> tuple[str, int]:
        """One call."""
        choice = self._random.random()
        if choice < 0.2 or not self._tasks:
            return WRITE, self._create(client)
        task = self._random.choice(self._tasks)
        if choice < 0.4:
            return WRITE, self._call(client, "PATCH", f"tasks/{task}/", {"description": f"{choice}"})
        if choice < 0.7:
            return READ, self._call(client, "GET", f"tasks/{task}/")
        return READ, self._call(client, "GET", "tasks/?limit=20")

    def _create(self, client: Client) -> int:
        self._number += 1
        title = f"{self._account.username}, task {self._number}"
        recipient = f"{self._account.username}@example.org"
        answer = ask_for_reminder(client, self._token, self._book, title=title, recipient=recipient)
        if answer.status == HTTPStatus.CREATED:
            self._tasks.append(UUID(answer.body["id"]))
        return answer.status

    def _call(self, client: Client, method: str, path: str, body: Any = None) -> int:
        return client.call(method, path, body, Authorization=f"Bearer {self._token}").status


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run, book = Run(), Book()
    started = time.monotonic()
    recipients = Recipients()
    with (
        tempfile.TemporaryDirectory(prefix="duely-smtp-") as directory,
        database(options.database, Path(directory)) as url,
        SmtpServer(port=free_port(), faults={Step.RCPT: recipients}, starttls=True) as sink,
    ):
        server = MailServer(sink, recipients)
        service = Service(
            Path(directory),
            url,
            workers=1,
            settings={
                "EMAIL_URL": f"smtp+starttls://{HOST}:{sink.port}",
                "SSL_CERT_FILE": str(CERTIFICATE),
                "ACCESS_TOKEN_MINUTES": "600",
            },
            duely=impatient.command(**HURRY),
        )
        try:
            service.start()
            _go_through_troubles(service, server, book, run, options)
            _wait_until_settled(url, server, book, run)
        except (ServiceFailed, RuntimeError, Outage) as error:
            print(f"{error}\n{service.last_lines()}", file=sys.stderr)
            return 1
        finally:
            for caller in run.callers:
                caller.stop()
            run.faults += service.stop(log=options.log)
        with opened(url) as ask:
            noted, jobs = notices(ask), jobs_by_state(ask)
        run.faults += [f"{check.name}: {check.result}" for check in examine(url) if not check.sound]
        account = settle(book.promises, arrivals(sink.received), refused=REFUSED)
    figures = _figures(options, run, book, account, noted, jobs, recipients)
    figures["seconds"] = round(time.monotonic() - started)
    found: dict[str, Sequence[Any]] = {"lost": account.lost, "wrong": account.wrong, "run": run.faults}
    for name, texts in found.items():
        for text in texts[:SHOWN]:
            print(f"{name}: {text}", file=sys.stderr)
    print(json.dumps(figures))
    return 0 if figures["clean"] else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.resilience.smtp", description=__doc__.partition("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgres"), required=True)
    parser.add_argument("--seed", type=int, default=1, help="chooses what is read and written")
    parser.add_argument("--lasting", type=float, default=15.0, metavar="SECONDS", help="how long each trouble lasts")
    parser.add_argument("--only", nargs="*", choices=list(TROUBLES), help="only these troubles")
    parser.add_argument("--log", type=Path, help="keep the log of the service here")
    options = parser.parse_args(arguments)
    options.well = min(WELL_SECONDS, options.lasting * 2)
    return options


def _go_through_troubles(
    service: Service, server: MailServer, book: Book, run: Run, options: argparse.Namespace
) -> None:
    client = Client(service.port)
    people = [Person(name, client=client, book=book, sink=server.sink, seed=options.seed) for name in CLIENTS]
    server.recipients.is_gone = True
    client.close()
    run.callers = [
        Caller(name, port=service.port, every_seconds=EVERY_SECONDS, turn=person.turn)
        for name, person in zip(CLIENTS, people, strict=True)
    ]
    for caller in run.callers:
        caller.start()
    _wait_until_kept(server, book, time.time())
    run.well.append(_phase(server, "well", options.well))
    for name in options.only or TROUBLES:
        with server.trouble(name):
            phase = _phase(server, name, options.lasting)
        seconds = _wait_until_kept(server, book, phase.end)
        run.troubles.append(Phase(phase.name, phase.start, phase.end, phase.connections, seconds))
        print(f"{name}: all arrived {seconds:.1f} s later", file=sys.stderr, flush=True)
        if not service.is_running():
            raise ServiceFailed("duely serve is gone")
    run.well.append(_phase(server, "well", options.well))
    for caller in run.callers:
        caller.stop()
        caller.join(RECOVERY_SECONDS)
    run.faults += [caller.failure for caller in run.callers if caller.failure]


def _phase(server: MailServer, name: str, seconds: float) -> Phase:
    start, before = time.time(), server.sink.connections
    threading.Event().wait(seconds)
    return Phase(name, start, time.time(), server.sink.connections - before)


def _wait_until_kept(server: MailServer, book: Book, moment: float) -> float:
    """Until all that was due before this moment has arrived; returns the seconds. Raises ServiceFailed."""
    start = time.monotonic()
    while left := missing(_due_before(moment, book), server.sink.received, refused=REFUSED):
        if time.monotonic() > start + RECOVERY_SECONDS:
            raise ServiceFailed(f"{left} mails are missing {RECOVERY_SECONDS:.0f} s after the mail server was well")
        time.sleep(0.25)
    return time.monotonic() - start


def _due_before(moment: float, book: Book) -> dict[str, Promise]:
    return {title: promise for title, promise in book.promises.items() if promise.at < moment}


def _wait_until_settled(url: str, server: MailServer, book: Book, run: Run) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    jobs: dict[str, int] = {}
    last = max((promise.at for promise in book.promises.values()), default=0.0)
    with opened(url) as ask:
        while time.monotonic() < deadline:
            jobs = jobs_by_state(ask)
            busy = jobs.keys() & {"waiting", "running"} or time.time() < last + 1
            certain = sum(promise.certain for promise in book.promises.values())
            if not busy and len(notices(ask)) >= certain:
                return
            time.sleep(0.5)
    run.faults.append(f"not all was settled in {RECOVERY_SECONDS:.0f} s: {jobs}")


def _unexplained(doubled: Sequence[Sequence[Arrival]], troubles: Sequence[Phase]) -> tuple[list[Arrival], int]:
    """Mails that came again though the answer to the first was given; and how many came again for want of it."""
    silent = [phase for phase in troubles if phase.name == UNCONFIRMED]
    others, explained = [], 0
    for copies in doubled:
        for first, second in pairwise(copies):
            if any(phase.start <= first.taken_at <= phase.end + NOTED_LATE_SECONDS for phase in silent):
                explained += 1
            else:
                others.append(second)
    return others, explained


def _answers(calls: Sequence[Call], base: Mapping[str, float | None]) -> dict[str, Any]:
    told: dict[str, Any] = {"calls": len(calls), "errors": sum(call.failed for call in calls)}
    for kind in (READ, WRITE):
        p99 = percentile_ms([call for call in calls if call.kind == kind], 0.99)
        told |= {f"{kind} p99 ms": p99, f"{kind} ratio": ratio(p99, base.get(kind))}
    return told


def _figures(
    options: argparse.Namespace,
    run: Run,
    book: Book,
    account: Account,
    noted: dict[UUID, Noted],
    jobs: dict[str, int],
    recipients: Recipients,
) -> dict[str, Any]:
    others, explained = _unexplained(account.doubled, run.troubles)
    well = [call for phase in run.well for call in within(run.callers, phase.start, phase.end)]
    base = {kind: percentile_ms([call for call in well if call.kind == kind], 0.99) for kind in (READ, WRITE)}
    outcomes = Counter(notice.outcome for notice in noted.values())
    everyone = [call for caller in run.callers for call in caller.calls]
    figures: dict[str, Any] = {
        "database": options.database,
        "seed": options.seed,
        "each lasts s": options.lasting,
        "waits shortened": HURRY,
        "reminders": len(book),
        "not known to be in time": sum(not promise.certain for promise in book.promises.values()),
        "arrived": account.arrived,
        "lost": len(account.lost),
        f"doubled, {UNCONFIRMED}": explained,
        "doubled, others": len(others),
        "wrong": len(account.wrong),
        "refused for good": outcomes["refused"],
        "550 answers": recipients.refused,
        "notices without end": outcomes[""],
        "most attempts of a mail": max((notice.attempts for notice in noted.values()), default=0),
        "jobs dead": jobs.get("dead", 0),
        "jobs left": jobs.get("waiting", 0) + jobs.get("running", 0),
        "API errors": sum(call.failed for call in everyone),
        "well": _answers(well, base),
        "troubles": {
            phase.name: {
                **_answers(within(run.callers, phase.start, phase.end), base),
                "connections": phase.connections,
                "all arrived after s": round(phase.recovery_seconds, 1),
            }
            for phase in run.troubles
        },
    }
    run.faults += [f"came again without a reason: {mail}" for mail in others]
    figures["clean"] = not (
        run.faults
        or account.lost
        or account.wrong
        or figures["550 answers"] != outcomes["refused"]
        or outcomes.keys() - {"sent", "refused"}
        or figures["jobs dead"]
        or figures["jobs left"]
        or figures["API errors"]
    )
    return figures


if __name__ == "__main__":
    sys.exit(main())
