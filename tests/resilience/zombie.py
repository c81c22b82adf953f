"""Every job delivered twice, and workers stopped for longer than a lease that then go on: one effect of each job.

    .venv/bin/python -m tests.resilience.zombie --database sqlite --jobs 200 --rounds 5

Prints every fault, and as the last line the figures as JSON. Exit code 0 when no job is lost or done twice.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from tests.resilience.queue_rig import options, queue_rig, show, wait

if TYPE_CHECKING:
    from tests.jobs.rig import Rig

TWINS = 2
SLOW_SECONDS = 1.0


def main() -> int:
    asked = options("zombie", __doc__.partition("\n")[0] if __doc__ else None, _add)
    faults: list[str] = []
    with queue_rig(asked.database) as rig:
        worker = rig.worker(LEASE=asked.lease)
        names = _deliver_twice(rig, asked.jobs)
        if wait(lambda: not set(names) - rig.effects().keys(), 60) is None:
            faults.append("not every job came to its end")
        worker.stop()
        stale = 0
        for number in range(asked.rounds):
            resumed = _resume_after_the_lease(rig, f"zombie{number}", asked.lease, faults)
            stale += resumed
            names.append(f"zombie{number}")
        effects = rig.effects()
    lost = [name for name in names if name not in effects]
    doubled = [name for name, many in effects.items() if many > 1]
    faults += [f"lost: {name}" for name in lost] + [f"done twice: {name}" for name in doubled]
    figures = {
        "database": asked.database,
        "lease": asked.lease,
        "jobs delivered twice": asked.jobs,
        "zombies": asked.rounds,
        "zombies refused": stale,
        "lost": len(lost),
        "doubled": len(doubled),
    }
    return show(figures, faults)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=200, help="jobs that are delivered twice")
    parser.add_argument("--rounds", type=int, default=5, help="workers that stop and go on")


def _deliver_twice(rig: "Rig", many: int) -> list[str]:
    """While a worker takes jobs as well, two more run each of them by its id at the same moment."""
    from django.db import connection

    from duely.jobs.runner import run_one
    from jobs import sample

    names = [f"twin{number}" for number in range(many)]
    barrier = threading.Barrier(TWINS + 1)
    current: list[UUID] = []

    def deliver(number: int) -> Callable[[], None]:
        def run() -> None:
            for _ in names:
                barrier.wait(60)
                run_one(current[-1], f"twin:{number}")
            connection.close()

        return run

    threads = [threading.Thread(target=deliver(number), daemon=True) for number in range(TWINS)]
    for thread in threads:
        thread.start()
    for name in names:
        current.append(rig.queue(sample.note, name))
        barrier.wait(60)
    for thread in threads:
        thread.join(60)
    return names


def _resume_after_the_lease(rig: "Rig", name: str, lease: float, faults: list[str]) -> bool:
    """Stop a worker amid a job until another one has done it, then let it go on. Whether it was refused."""
    from jobs import sample

    first = rig.worker(LEASE=lease)
    rig.queue(sample.note, name, seconds=SLOW_SECONDS)
    rig.wait_for_begin(name)
    first.process.send_signal(signal.SIGSTOP)
    second = rig.worker(LEASE=lease)
    if wait(lambda: rig.effects()[name] == 1, lease + 60) is None:
        faults.append(f"{name} was not done by another worker")
    first.process.send_signal(signal.SIGCONT)
    refused = wait(lambda: "another worker has the job by now" in first.out.read_text(errors="replace"), 20)
    if refused is None:
        faults.append(f"the zombie of {name} was not told")
    time.sleep(0.2)
    for worker in (first, second):
        if worker.stop():
            faults.append("a worker did not end well")
    return refused is not None


if __name__ == "__main__":
    sys.exit(main())
