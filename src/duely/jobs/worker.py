"""The worker: takes jobs that are due and runs them in threads, until it is told to stop."""

import os
import queue as queues
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from types import FrameType

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from duely.core.heartbeat import Heart
from duely.jobs.leases import Leases
from duely.jobs.queries import time_to_next
from duely.jobs.queue import LeaseLost, Running, claim, give_up, recover, release, tick
from duely.jobs.registry import known
from duely.jobs.runner import execute
from duely.jobs.wakeup import Wakeup

log = structlog.get_logger("duely.worker")

LONGEST_PAUSE_SECONDS = 5.0
RECOVER_EVERY_SECONDS = 5.0
DRAIN_SECONDS = 20.0
START_SECONDS = 5
AFTER_FAULT_SECONDS = 1.0


class Event(Enum):
    """What ends the pause of the loop."""

    STOP = auto()
    LOOK = auto()


@dataclass(slots=True, eq=False)
class Slot:
    """What one of the threads is at, and since when.

    alone: in a process of its own, because the job's last worker died of it, or with it.
    """

    running: Running
    alone: bool
    since: float = field(default_factory=time.monotonic)
    process: "subprocess.Popen[bytes] | None" = None


def name() -> str:
    """This process as the rows of its jobs show it."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Worker:
    """One process with `threads` threads.

    alone: the command that runs one job by itself, to which the id and the fence are added. with_schedules: queue what
    the clock says as well. A job that takes longer than its time ends this process, once its other jobs are done: a
    thread cannot be ended by itself. Whoever started the worker starts it again.
    """

    def __init__(self, *, threads: int, alone: Sequence[str], with_schedules: bool) -> None:
        self._threads = threads
        self._alone = list(alone)
        self._with_schedules = with_schedules
        # SimpleQueues may be written to in a signal handler, a threading.Event may not.
        self._events: queues.SimpleQueue[Event] = queues.SimpleQueue()
        self._work: queues.SimpleQueue[Slot] = queues.SimpleQueue()
        self._slots: set[Slot] = set()
        self._leases = Leases()
        self._wakeup = Wakeup()
        self._next_tick = 0.0
        self._next_recovery = 0.0
        self._heart = Heart(settings.DATA_DIR, "worker")

    def run(self) -> bool:
        """Work until SIGTERM or SIGINT. Returns False when it ended because a job would not end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        for _ in range(self._threads):
            threading.Thread(target=self._run_jobs, name="job", daemon=True).start()
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        log.info("worker started", threads=self._threads, schedules=self._with_schedules)
        with self._leases:
            healthy = self._loop()
            self._drain()
        self._wakeup.stop()
        connection.close()
        log.info("worker ended")
        return healthy

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._events.put(Event.STOP)

    def _loop(self) -> bool:
        while True:
            if not self._heart.beat():
                log.warning("duely health will not see this worker", fault=self._heart.fault)
            try:
                pause = self._step()
                late = self._give_up_late_jobs()
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database is out of reach", error=str(error).strip())
                close_old_connections()
                pause, late = AFTER_FAULT_SECONDS, False
            if late:
                return False
            if Event.STOP in self._wait(pause):
                return True

    def _step(self) -> float:
        """Queue, recover and take what there is; returns the seconds until there may be more."""
        now = time.monotonic()
        if self._with_schedules and now >= self._next_tick:
            self._next_tick = now + max(tick().total_seconds(), 0.0)
        if now >= self._next_recovery:
            recover()
            self._next_recovery = now + RECOVER_EVERY_SECONDS
        waits = [LONGEST_PAUSE_SECONDS, self._next_recovery - now]
        if self._with_schedules:
            waits.append(self._next_tick - now)
        if self._free():
            # Asked before the jobs are taken: one that becomes due in between is not slept through.
            following = time_to_next(list(known()))
            waits += [following.total_seconds()] if following else []
            self._take()
        return max(min(waits), 0.0)

    def _take(self) -> None:
        # Suspect ones first, or they would wait for as long as there is other work; but in half of the threads at most.
        room = max(self._threads // 2, 1) - sum(slot.alone for slot in list(self._slots))
        for suspect, most in ((True, room), (False, self._threads)):
            limit = min(most, self._free())
            for running in claim(name(), limit, suspect=suspect) if limit > 0 else []:
                self._leases.hold(running)
                slot = Slot(running, alone=suspect)
                self._slots.add(slot)
                self._work.put(slot)

    def _free(self) -> int:
        return self._threads - len(self._slots)

    def _wait(self, seconds: float) -> set[Event]:
        """What happened within that time; returns at the first."""
        happened = set()
        with suppress(queues.Empty):
            happened.add(self._events.get(timeout=seconds))
            while True:
                happened.add(self._events.get_nowait())
        return happened

    def _run_jobs(self) -> None:
        while True:
            slot = self._work.get()
            if slot.alone:
                self._run_alone(slot)
                close_old_connections()
            else:
                execute(slot.running)
            self._leases.let_go(slot.running)
            self._slots.discard(slot)
            self._events.put(Event.LOOK)

    def _run_alone(self, slot: Slot) -> None:
        running = slot.running
        command = [*self._alone, f"{running.id}:{running.fence}:{os.getpid()}"]
        try:
            slot.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command
        except OSError as error:
            self._give_up(running, f"No process could be started for it: {error.strerror}.")
            return
        what = "It died, alone in a process of its own."
        try:
            slot.process.wait(known()[running.name].timeout_seconds + START_SECONDS)
        except subprocess.TimeoutExpired:
            what = "It took longer than it may, alone in a process of its own."
            slot.process.kill()
        if slot.process.wait():
            log.warning("a job that ran alone did not end well", job=running.name, job_id=str(running.id), why=what)
            self._give_up(running, what)

    def _give_up(self, running: Running, what: str) -> None:
        """Count the attempt now; failing that, it counts when the lease is over."""
        self._leases.let_go(running)
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            give_up(running, what)

    def _listen(self) -> None:
        while not self._wakeup.stopped:
            try:
                if self._wakeup.wait(LONGEST_PAUSE_SECONDS):
                    self._events.put(Event.LOOK)
            except (DatabaseError, InterfaceError) as error:
                log.warning("not told of new jobs for now", error=str(error).strip())
                self._wakeup.close()
                time.sleep(AFTER_FAULT_SECONDS)
        self._wakeup.close()

    def _give_up_late_jobs(self) -> bool:
        """Whether a job took longer than its time; it counts as failed and runs alone from now on."""
        now = time.monotonic()
        late = [
            slot
            for slot in list(self._slots)
            if not slot.alone and now - slot.since >= known()[slot.running.name].timeout_seconds
        ]
        for slot in late:
            job, job_id = slot.running.name, str(slot.running.id)
            log.error("a job would not end; this worker ends instead", job=job, job_id=job_id)
            self._give_up(slot.running, "It took longer than it may.")
            self._slots.discard(slot)
        return bool(late)

    def _drain(self) -> None:
        """Let running jobs finish for a while; hand back those that do not, so that another worker takes them now."""
        end = time.monotonic() + DRAIN_SECONDS
        while self._slots and (left := end - time.monotonic()) > 0:
            self._wait(left)
        for slot in list(self._slots):
            self._leases.let_go(slot.running)
            with suppress(LeaseLost, DatabaseError, InterfaceError):
                release(slot.running)
                log.info("a job was handed back", job=slot.running.name, job_id=str(slot.running.id))
            if slot.process is not None:
                slot.process.kill()
