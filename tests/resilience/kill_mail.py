"""Kill -9 the worker at random moments while reminders are mailed, then look whether a mail is missing or came twice.

    .venv/bin/python -m tests.resilience.kill_mail --database sqlite --kills 100 --seed 1

A mail that the server has taken comes again when its worker dies before it could note so: nothing but a mail server
that remembers could prevent that. These are counted apart, at most as many per kill as a worker has threads. Every
other mail comes once. A mail whose worker died is taken up again when its lease is over and a worker looks; then it is
sent from a process of its own, which takes its time on a busy machine: both times are told.

Prints what is wrong, and as the last line the figures as JSON. Exit code 0 when nothing is wrong. Linux only.
Everything is on the loopback, in a temporary directory, and gone afterwards.

--short shortens leases and clocks (see impatient.py), for a run of seconds.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.resilience import impatient, writers
from tests.resilience.reminders import (
    NOTED_LATE_SECONDS,
    Account,
    Arrival,
    Book,
    Noted,
    arrivals,
    ask_for_reminder,
    held_by,
    jobs_by_state,
    missing,
    notices,
    settle,
)
from tests.resilience.service import HOST, Service, ServiceFailed, database, free_port, is_alive
from tests.resilience.stored import Check, examine, opened
from tests.resilience.writers import Client, NoAnswer, NoConnection, Outage, sign_in, sign_up, verify
from tests.smtp_server import SmtpServer, Stall, Step

THREADS = 4
"""WORKER_THREADS of the settings: so many mails may be under way when a worker is killed."""
LEASE_SECONDS, POLL_SECONDS = 30.0, 5.0
SHORT = {"lease": 5.0, "clock": 1.0}
MOST_MAILS = 1_000_000
"""Reminders a day to one mailbox: the daily limit is not what is looked at here."""
SHORT_POLL_SECONDS = SHORT["lease"] / impatient.RECOVERIES_IN_A_LEASE
START_SECONDS = 20.0
"""On top of lease and poll, on a busy machine: the worker that is to see it may just be starting, after another kill."""
FASTEST_ANSWER_SECONDS, SLOWEST_ANSWER_SECONDS = 0.02, 0.1
LONGEST_PAUSE_SECONDS = 1.5
LONGEST_MAIL_SECONDS = 0.15
FEEDERS = 2
MOST_OUTSTANDING = 300
RECOVERY_SECONDS = 90.0
DELIVERY_SECONDS = 900.0
SHOWN = 10
PUT_BACK = "the worker of a job is gone"


@dataclass(frozen=True, slots=True)
class Kill:
    """One worker killed: when, which notices it had in its hands, and how long until a mail came again."""

    at: float
    pid: int
    hit: frozenset[UUID]
    seconds: float


@dataclass(slots=True)
class Run:
    """What happened in one run."""

    kills: list[Kill] = field(default_factory=list)
    attempts_seen: dict[UUID, set[float]] = field(default_factory=lambda: defaultdict(set))
    put_back: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


class Feeder(threading.Thread):
    """Makes tasks with reminders that are due at once, as long as few enough are outstanding."""

    def __init__(self, number: int, *, port: int, book: Book, sink: SmtpServer, pause_seconds: float) -> None:
        super().__init__(name=f"feeder {number}", daemon=True)
        self.failure: str | None = None
        self._account = writers.Account(f"feeder{number}")
        self._client = Client(port)
        self._book = book
        self._sink = sink
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Make no more."""
        self._stopping.set()

    def run(self) -> None:
        """Until told to stop."""
        try:
            sign_up(self._client, self._account)
            verify(self._client, self._account, self._sink.received)
            token = sign_in(self._client, self._account)["access"]
            number = 0
            while not self._stopping.wait(self._pause_seconds):
                if len(self._book) - len(self._sink.received) < MOST_OUTSTANDING:
                    number += 1
                    self._feed(token, f"{self.name}, task {number}")
        except (RuntimeError, Outage, NoConnection, NoAnswer) as error:
            self.failure = f"{self.name}: {error!r}"
        finally:
            self._client.close()

    def _feed(self, token: str, title: str) -> None:
        recipient = f"{self._account.username}@example.org"
        answer = ask_for_reminder(self._client, token, self._book, title=title, recipient=recipient)
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(f"a task was answered with {answer}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run, book = Run(), Book()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="duely-kill-mail-") as directory,
        database(options.database, Path(directory)) as url,
        SmtpServer(port=free_port(), faults={Step.MESSAGE: _slowness(options.seed)}) as sink,
    ):
        service = Service(
            Path(directory),
            url,
            workers=1,
            settings={"EMAIL_URL": f"smtp://{HOST}:{sink.port}", "ACCESS_TOKEN_MINUTES": "600"},
            duely=impatient.command(mails=MOST_MAILS, **(SHORT if options.short else {})),
        )
        try:
            service.start()
            _kill_while_mails_go_out(service, url, sink, book, run, options)
        except (ServiceFailed, RuntimeError) as error:
            print(f"{error}\n{service.last_lines()}", file=sys.stderr)
            return 1
        finally:
            run.faults += service.stop(log=options.log)
        run.put_back = _put_back(service.log, run.kills)
        with opened(url) as ask:
            noted, jobs = notices(ask), jobs_by_state(ask)
        run.checks = examine(url)
        account = settle(book.promises, arrivals(sink.received), refused=frozenset())
    figures = _figures(options, run, book, account, noted, jobs)
    figures["seconds"] = round(time.monotonic() - started)
    _print(figures, run, account)
    return 0 if figures["clean"] else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience.kill_mail", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--database", choices=("sqlite", "postgres"), required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="chooses when to kill, and how slow the mail server is")
    parser.add_argument("--rate", type=float, default=8, help="reminders a second")
    parser.add_argument("--short", action="store_true", help="leases and clocks of seconds")
    parser.add_argument("--log", type=Path, help="keep the log of the service here")
    options = parser.parse_args(arguments)
    if not 1 <= options.kills <= 10_000:
        parser.error("--kills is 1 to 10000")
    return options


def _slowness(seed: int) -> Callable[[str], Stall]:
    choose = random.Random(f"{seed}/answers")
    return lambda _: Stall(choose.uniform(FASTEST_ANSWER_SECONDS, SLOWEST_ANSWER_SECONDS))


def _kill_while_mails_go_out(
    service: Service, url: str, sink: SmtpServer, book: Book, run: Run, options: argparse.Namespace
) -> None:
    pause = FEEDERS / options.rate
    feeders = [
        Feeder(number, port=service.port, book=book, sink=sink, pause_seconds=pause) for number in range(FEEDERS)
    ]
    for feeder in feeders:
        feeder.start()
    choose = random.Random(options.seed)
    try:
        for number in range(1, options.kills + 1):
            time.sleep(choose.uniform(0, LONGEST_PAUSE_SECONDS))
            run.kills.append(_kill_one(service, url, sink, run, choose.uniform(0, LONGEST_MAIL_SECONDS)))
            if number % 10 == 0:
                print(f"{number} of {options.kills} kills", file=sys.stderr, flush=True)
    finally:
        for feeder in feeders:
            feeder.stop()
        for feeder in feeders:
            feeder.join(RECOVERY_SECONDS)
    run.faults += [feeder.failure for feeder in feeders if feeder.failure]
    _wait_until_delivered(url, sink, book, run)


def _kill_one(service: Service, url: str, sink: SmtpServer, run: Run, pause_seconds: float) -> Kill:
    """Kill the worker so long after a mail, note what it had in its hands, and wait until mails go out again."""
    _wait(service, service.worker_process, "a worker")
    pid = service.worker_process()
    assert pid is not None
    _wait_for_mail_after(time.time(), service, sink)
    time.sleep(pause_seconds)
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        time.sleep(0.001)
    with opened(url) as ask:
        hit = frozenset(held_by(ask, pid))
        noted = notices(ask)
    for notice in hit:
        attempted_at = noted[notice].attempted_at
        if attempted_at is not None:
            run.attempts_seen[notice].add(attempted_at)
    _wait_for_mail_after(time.time(), service, sink)
    return Kill(at, pid, hit, time.time() - at)


def _wait_for_mail_after(moment: float, service: Service, sink: SmtpServer) -> None:
    _wait(service, lambda: sink.received and sink.received[-1].taken_at > moment, "a mail")


def _wait(service: Service, happened: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not happened():
        if time.monotonic() > deadline or not service.is_running():
            raise ServiceFailed(f"there was not {what} in {RECOVERY_SECONDS:.0f} s")
        time.sleep(0.02)


def _wait_until_delivered(url: str, sink: SmtpServer, book: Book, run: Run) -> None:
    """Until every mail is there and noted. What never comes is for the verdict to tell; late is not lost."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    jobs: dict[str, int] = {}
    with opened(url) as ask:
        while time.monotonic() < deadline:
            jobs = jobs_by_state(ask)
            if not jobs.keys() & {"waiting", "running"} and not missing(
                book.promises, sink.received, refused=frozenset()
            ):
                return
            time.sleep(0.5)
    run.faults.append(f"not all was delivered in {DELIVERY_SECONDS:.0f} s: {jobs}")


def _unexplained(doubled: Sequence[Sequence[Arrival]], kills: Sequence[Kill]) -> tuple[list[Arrival], Counter[float]]:
    """Mails that came again though no worker died over them; and how many came again for each kill, by its instant."""
    others = []
    by_kill: Counter[float] = Counter()
    for copies in doubled:
        for first, second in pairwise(copies):
            reasons = [kill.at for kill in kills if first.notice in kill.hit and _between(first, kill, second)]
            if reasons:
                by_kill[reasons[0]] += 1
            else:
                others.append(second)
    return others, by_kill


def _between(first: Arrival, kill: Kill, second: Arrival) -> bool:
    return first.taken_at <= kill.at + NOTED_LATE_SECONDS and kill.at <= second.taken_at


def _delays(run: Run, noted: dict[UUID, Noted]) -> list[float]:
    """For each mail that a kill hit: the seconds until it was tried again.

    A commit that the worker had sent may still happen after its death: such a mail was noted, and is not tried again.
    """
    delays = []
    for kill in run.kills:
        for notice in kill.hit:
            seen = {*run.attempts_seen[notice], noted[notice].attempted_at or 0.0}
            later = [at for at in seen if at > kill.at]
            if later or noted[notice].outcome != "sent":
                delays.append(min(later) - kill.at if later else float("inf"))
    return sorted(delays)


def _put_back(log: Path, kills: Sequence[Kill]) -> list[float]:
    """The seconds from a kill until each of the jobs that it hit could be taken again, as the service's log has them."""
    killed_at = {kill.pid: kill.at for kill in kills}
    seconds = []
    for line in log.read_text(errors="replace").splitlines():
        if f'"{PUT_BACK}"' in line:
            entry = json.loads(line)
            pid = int(entry["worker"].rpartition(":")[2])
            if pid in killed_at:
                seconds.append(datetime.fromisoformat(entry["timestamp"]).timestamp() - killed_at[pid])
    return sorted(seconds)


def _figures(
    options: argparse.Namespace,
    run: Run,
    book: Book,
    account: Account,
    noted: dict[UUID, Noted],
    jobs: dict[str, int],
) -> dict[str, Any]:
    others, by_kill = _unexplained(account.doubled, run.kills)
    delays = _delays(run, noted)
    recoveries = sorted(kill.seconds for kill in run.kills)
    lease, poll = (SHORT["lease"], SHORT_POLL_SECONDS) if options.short else (LEASE_SECONDS, POLL_SECONDS)
    unsent = Counter(notice.outcome for notice in noted.values() if notice.outcome != "sent")
    figures: dict[str, Any] = {
        "database": options.database,
        "seed": options.seed,
        "reminders a second": options.rate,
        "kills": len(run.kills),
        "kills that hit a mail": sum(bool(kill.hit) for kill in run.kills),
        "mails hit": sum(len(kill.hit) for kill in run.kills),
        "reminders": len(book),
        "not known to be in time": sum(not promise.certain for promise in book.promises.values()),
        "arrived": account.arrived,
        "lost": len(account.lost),
        "doubled, answer lost": sum(by_kill.values()),
        "most doubled by one kill": max(by_kill.values(), default=0),
        "doubled, others": len(others),
        "wrong": len(account.wrong),
        "jobs dead": jobs.get("dead", 0),
        "jobs left": jobs.get("waiting", 0) + jobs.get("running", 0),
        "notices not sent": sum(unsent.values()),
        "lease s": lease,
        "poll s": poll,
        "longest until taken up s": round(run.put_back[-1], 1) if run.put_back else None,
        "median re-run s": round(statistics.median(delays), 1) if delays and delays[-1] < float("inf") else None,
        "longest re-run s": round(delays[-1], 1) if delays and delays[-1] < float("inf") else None,
        "median until mails go again s": round(statistics.median(recoveries), 1) if recoveries else None,
        "longest until mails go again s": round(recoveries[-1], 1) if recoveries else None,
        "integrity": "ok" if all(check.sound for check in run.checks) else "broken",
    }
    run.faults += [f"came again without a reason: {mail}" for mail in others]
    figures["clean"] = not (
        run.faults
        or account.lost
        or account.wrong
        or figures["jobs dead"]
        or figures["jobs left"]
        or figures["notices not sent"]
        or figures["most doubled by one kill"] > THREADS
        or figures["integrity"] != "ok"
        or max(run.put_back, default=0.0) > lease + poll + START_SECONDS
        or float("inf") in delays
        or len(run.kills) != options.kills
    )
    return figures


def _print(figures: dict[str, Any], run: Run, account: Account) -> None:
    found: dict[str, Sequence[Any]] = {"lost": account.lost, "wrong": account.wrong, "run": run.faults}
    for name, texts in found.items():
        for text in texts[:SHOWN]:
            print(f"{name}: {text}", file=sys.stderr)
    for check in run.checks:
        if not check.sound:
            print(f"{check.name}: {check.result}", file=sys.stderr)
    print(json.dumps(figures))


if __name__ == "__main__":
    sys.exit(main())
