"""The worker: takes due jobs and runs them in threads, until SIGTERM or SIGINT (decision 0008)."""

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
    """The reasons for ending a pause of the main loop."""

    STOP = auto()
    LOOK = auto()


@dataclass(slots=True, eq=False)
class Assignment:
    """A job that one of the threads runs, or will run next.

    isolated: in a process of its own, because the job may have killed earlier workers.
    """

    running: Running
    isolated: bool
    started_at: float = field(default_factory=time.monotonic)
    process: "subprocess.Popen[bytes] | None" = None


def name() -> str:
    """The name of this process in the rows of its jobs."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}"


class Worker:
    """A worker process with `threads` threads.

    isolated_command: the command that runs one job in a process; the job's id and fence are appended. with_schedules:
    queue scheduled jobs too.

    A job that exceeds its timeout ends this process as soon as its other jobs have finished, because Python cannot end
    a thread. The supervisor or the service manager starts the worker again.
    """

    def __init__(self, *, threads: int, isolated_command: Sequence[str], with_schedules: bool) -> None:
        self._threads = threads
        self._isolated_command = list(isolated_command)
        self._with_schedules = with_schedules
        # A signal handler may write to a SimpleQueue. A threading.Event has a lock that the main thread may hold.
        self._events: queues.SimpleQueue[Event] = queues.SimpleQueue()
        self._work: queues.SimpleQueue[Assignment] = queues.SimpleQueue()
        self._assignments: set[Assignment] = set()
        self._leases = Leases()
        self._wakeup = Wakeup()
        self._next_tick = 0.0
        self._next_recovery = 0.0
        self._heart = Heart(settings.DATA_DIR, "worker")

    def run(self) -> bool:
        """Work until SIGTERM or SIGINT. Returns False if it ended because a job exceeded its timeout."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop_signal)
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

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(Event.STOP)

    def _loop(self) -> bool:
        while True:
            if not self._heart.beat():
                log.warning("duely health will not see this worker", fault=self._heart.fault)
            try:
                pause = self._step()
                has_late_jobs = self._give_up_late_jobs()
            except (DatabaseError, InterfaceError) as error:
                log.warning("the database is out of reach", error=str(error).strip())
                close_old_connections()
                pause, has_late_jobs = AFTER_FAULT_SECONDS, False
            if has_late_jobs:
                return False
            if Event.STOP in self._wait(pause):
                return True

    def _step(self) -> float:
        """Queue scheduled jobs, recover lost ones and take due ones. Returns the seconds until the next step."""
        now = time.monotonic()
        if self._with_schedules and now >= self._next_tick:
            self._next_tick = now + max(tick().total_seconds(), 0.0)
        if now >= self._next_recovery:
            recover()
            self._next_recovery = now + RECOVER_EVERY_SECONDS
        waits = [LONGEST_PAUSE_SECONDS, self._next_recovery - now]
        if self._with_schedules:
            waits.append(self._next_tick - now)
        if self._free_threads():
            # Read before the jobs are taken, so that a job that becomes due in between ends the next pause.
            time_to_next_job = time_to_next(list(known()))
            if time_to_next_job:
                waits.append(time_to_next_job.total_seconds())
            self._take()
        return max(min(waits), 0.0)

    def _take(self) -> None:
        # Suspect jobs are taken first, or they would wait as long as there are others. They get at most half of the
        # threads, so that others run too.
        isolated_jobs = sum(assignment.isolated for assignment in list(self._assignments))
        limit_of_suspects = max(self._threads // 2, 1) - isolated_jobs
        for suspect, most in ((True, limit_of_suspects), (False, self._threads)):
            limit = min(most, self._free_threads())
            if limit <= 0:
                continue
            for running in claim(name(), limit, suspect=suspect):
                self._leases.hold(running)
                assignment = Assignment(running, isolated=suspect)
                self._assignments.add(assignment)
                self._work.put(assignment)

    def _free_threads(self) -> int:
        return self._threads - len(self._assignments)

    def _wait(self, seconds: float) -> set[Event]:
        """Wait for the first event, at most `seconds`. Returns all events that have arrived by then."""
        events = set()
        with suppress(queues.Empty):
            events.add(self._events.get(timeout=seconds))
            while True:
                events.add(self._events.get_nowait())
        return events

    def _run_jobs(self) -> None:
        while True:
            assignment = self._work.get()
            if assignment.isolated:
                self._run_isolated(assignment)
                close_old_connections()
            else:
                execute(assignment.running)
            self._leases.drop(assignment.running)
            self._assignments.discard(assignment)
            self._events.put(Event.LOOK)

    def _run_isolated(self, assignment: Assignment) -> None:
        running = assignment.running
        command = [*self._isolated_command, f"{running.id}:{running.fence}:{os.getpid()}"]
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own command
        except OSError as error:
            self._give_up(running, f"No process could be started for it: {error.strerror}.")
            return
        assignment.process = process
        reason = "It died, alone in a process of its own."
        try:
            process.wait(known()[running.name].timeout_seconds + START_SECONDS)
        except subprocess.TimeoutExpired:
            reason = "It took longer than it may, alone in a process of its own."
            process.kill()
        if process.wait():
            log.warning("a job that ran alone did not end well", job=running.name, job_id=str(running.id), why=reason)
            self._give_up(running, reason)

    def _give_up(self, running: Running, reason: str) -> None:
        """Count the attempt as failed. If the database is away, it counts when the lease ends."""
        self._leases.drop(running)
        with suppress(LeaseLost, DatabaseError, InterfaceError):
            give_up(running, reason)

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
        """Give up jobs that exceeded their timeout; they run isolated from now on. Returns whether there were any."""
        has_late_jobs = False
        for assignment in list(self._assignments):
            running = assignment.running
            seconds = time.monotonic() - assignment.started_at
            if assignment.isolated or seconds < known()[running.name].timeout_seconds:
                continue
            log.error("a job would not end; this worker ends instead", job=running.name, job_id=str(running.id))
            self._give_up(running, "It took longer than it may.")
            self._assignments.discard(assignment)
            has_late_jobs = True
        return has_late_jobs

    def _drain(self) -> None:
        """Wait DRAIN_SECONDS for running jobs. Hand back the others, so that another worker can take them at once."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._assignments:
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                break
            self._wait(seconds_left)
        for assignment in list(self._assignments):
            self._leases.drop(assignment.running)
            with suppress(LeaseLost, DatabaseError, InterfaceError):
                release(assignment.running)
                log.info("a job was handed back", job=assignment.running.name, job_id=str(assignment.running.id))
            if assignment.process is not None:
                assignment.process.kill()
