"""Kill -9 workers, and the processes of jobs that run alone, at random moments; then count what the jobs did.

    .venv/bin/python -m tests.resilience.kill_worker --database sqlite --kills 100 --seed 1

Prints every fault, and as the last line the figures as JSON. Exit code 0 when no job is lost or done twice, and each ran
again in time. Linux only. Everything is in a temporary directory and gone afterwards.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.resilience.queue_rig import options, queue_rig, show, wait

if TYPE_CHECKING:
    from tests.jobs.rig import Program, Rig

WORKERS = 2
MOST_WAITING = 4
POLL_SECONDS = 5.0
SLACK_SECONDS = 3.0
"""What a busy machine may add until a job is taken again. How soon its new process is up then, is the machine's affair."""
RECOVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process was killed, by the clock of this process and by the one of the database, which is the machine's."""

    pid: int
    at: float
    instant: datetime


def main() -> int:
    asked = options("kill_worker", __doc__.partition("\n")[0] if __doc__ else None, _add)
    with queue_rig(asked.database) as rig:
        times = {"LEASE": asked.lease, "RECOVER_EVERY_SECONDS": POLL_SECONDS, "FIRST_RETRY": 5}
        supervisors = [rig.start("supervise", "worker", **times) for _ in range(WORKERS)]
        feeder = Feeder(rig, asked.seed)
        faults: list[str] = []
        kills: list[Kill] = []
        if wait(lambda: all(_up(supervisor) for supervisor in supervisors), RECOVERY_SECONDS) is None:
            return show({}, ["the workers did not start"])
        feeder.start()
        choose = random.Random(asked.seed)
        for number in range(1, asked.kills + 1):
            time.sleep(choose.uniform(0.05, 1.5))
            if not _kill_one(supervisors, choose, kills):
                faults.append(f"no worker was up for kill {number}")
                break
            # One after the other: each that is interrupted runs alone next, and many at once would wait for each other.
            if wait(lambda: not _interrupted(rig, kills), asked.lease + RECOVERY_SECONDS) is None:
                faults.append(f"what kill {number} interrupted did not run again")
                break
            if number % 25 == 0:
                print(f"{number} of {asked.kills} kills", file=sys.stderr, flush=True)
        feeder.stop()
        if wait(_all_done, 2 * asked.lease + 120) is None:
            faults.append("not every job came to its end")
        codes = [supervisor.stop() for supervisor in supervisors]
        faults += [f"a supervisor ended with exit code {code}" for code in codes if code]
        figures = {"database": asked.database, "seed": asked.seed, "lease": asked.lease, "kills": len(kills)}
        return show({**figures, **_judge(rig, feeder.names, kills, asked.lease, faults)}, faults)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=100)


class Feeder(threading.Thread):
    """Keeps a few jobs waiting."""

    def __init__(self, rig: "Rig", seed: int) -> None:
        super().__init__(daemon=True)
        self.names: list[str] = []
        self._rig = rig
        self._choose = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        from django.db import OperationalError, connection

        from duely.jobs.models import Job
        from jobs import sample

        while not self._over.wait(0.05):
            with suppress(OperationalError):  # SQLite was busy for too long: this one was not queued
                if Job.objects.filter(state="waiting", losses=0).count() < MOST_WAITING:
                    name = f"job{len(self.names)}"
                    self._rig.queue(sample.note, name, seconds=self._choose.uniform(0.0, 0.8))
                    self.names.append(name)
        connection.close()

    def stop(self) -> None:
        """Return when it has ended."""
        self._over.set()
        self.join()


def _up(supervisor: "Program") -> bool:
    """Whether its present worker takes jobs."""
    text = supervisor.out.read_text(errors="replace")
    return text.count('"worker started"') > text.count("child ended, starting it again")


def _kill_one(supervisors: list["Program"], choose: random.Random, kills: list[Kill]) -> bool:
    """Kill one of the processes that run jobs, once there is a worker that is up."""
    from programs import children

    while True:
        if wait(lambda: any(_up(supervisor) for supervisor in supervisors), RECOVERY_SECONDS) is None:
            return False
        workers = [pid for supervisor in supervisors if _up(supervisor) for pid in children(supervisor.pid)]
        if not workers:
            continue
        pid = choose.choice([*workers, *(pid for worker in workers for pid in children(worker))])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            kills.append(Kill(pid, time.monotonic(), datetime.now(UTC)))
            return True


def _begun(rig: "Rig") -> dict[str, list[tuple[int, float]]]:
    """In which processes each job was begun, and when."""
    begun: dict[str, list[tuple[int, float]]] = {}
    for line in rig.trace.read_text().splitlines():
        name, pid, at = line.split()
        begun.setdefault(name, []).append((int(pid), float(at)))
    return begun


def _interrupted(rig: "Rig", kills: list[Kill]) -> bool:
    """Whether a job that a killed process had begun has neither left its effect nor been begun again."""
    dead = {kill.pid for kill in kills}
    effects = rig.effects()
    return any(attempts[-1][0] in dead and name not in effects for name, attempts in _begun(rig).items())


def _all_done() -> bool:
    from duely.jobs.models import Job

    return not Job.objects.filter(state__in=("waiting", "running")).exists()


def _judge(rig: "Rig", names: list[str], kills: list[Kill], lease: float, faults: list[str]) -> dict[str, Any]:
    from duely.jobs.models import Job

    effects = rig.effects()
    lost = [name for name in names if name not in effects]
    doubled = [name for name, many in effects.items() if many > 1]
    begun = _begun(rig)
    killed = {kill.pid: kill for kill in kills}
    interrupted = [
        (name, killed[pid], second)
        for name, attempts in begun.items()
        for (pid, first), (_, second) in itertools.pairwise(attempts)
        if pid in killed and first < killed[pid].at
    ]
    # A third attempt waits longer on purpose.
    again = {job.args["name"]: job.started_at for job in Job.objects.filter(attempts=2)}
    taken = [(again[name] - kill.instant).total_seconds() for name, kill, _ in interrupted if name in again]
    allowed = lease + POLL_SECONDS
    faults += [f"lost: {name}" for name in lost] + [f"done twice: {name}" for name in doubled]
    faults += [f"taken again only after {delay:.1f} s" for delay in taken if delay > allowed + SLACK_SECONDS]
    return {
        "jobs": len(names),
        "jobs interrupted": len({name for name, attempts in begun.items() if len(attempts) > 1}),
        "lost": len(lost),
        "doubled": len(doubled),
        "worst delay until taken again s": round(max(taken, default=0.0), 1),
        "worst delay until running again s": round(max((at - kill.at for _, kill, at in interrupted), default=0.0), 1),
        "allowed s": allowed,
    }


if __name__ == "__main__":
    sys.exit(main())
