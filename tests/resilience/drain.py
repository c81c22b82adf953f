"""A worker is asked to end amid a job of 30 s: it hands the job back, and another worker takes it within 5 s.

    .venv/bin/python -m tests.resilience.drain --database sqlite --rounds 3

Prints every fault, and as the last line the figures as JSON. Exit code 0 when no job is lost or done twice.
"""

import argparse
import signal
import sys
import time

from tests.resilience.queue_rig import options, queue_rig, show, wait

JOB_SECONDS = 30.0
DRAIN_SECONDS = 20.0
MOST_SECONDS = 5.0
LONGEST_EXIT_SECONDS = 30.0


def main() -> int:
    asked = options("drain", __doc__.partition("\n")[0] if __doc__ else None, _add)
    faults: list[str] = []
    exits, waits = [], []
    with queue_rig(asked.database) as rig:
        from duely.jobs.models import Job
        from jobs import sample

        worker = rig.worker(LEASE=asked.lease, DRAIN_SECONDS=asked.drain)
        for number in range(asked.rounds):
            name = f"long{number}"
            job_id = rig.queue(sample.note, name, seconds=JOB_SECONDS)
            rig.wait_for_begin(name)
            # The next attempt is a short one: this is about when it begins.
            Job.objects.filter(pk=job_id).update(args={"name": name, "trace": str(rig.trace)})
            other = rig.worker(LEASE=asked.lease, DRAIN_SECONDS=asked.drain)
            asked_at = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            if wait(lambda name=name: len(rig.begun(name)) == 2, asked.drain + MOST_SECONDS) is None:  # type: ignore[misc]
                faults.append(f"{name} was not taken by the other worker")
            waits.append(time.monotonic() - asked_at - asked.drain)
            if worker.process.wait(LONGEST_EXIT_SECONDS):
                faults.append("a worker did not end well")
            exits.append(time.monotonic() - asked_at)
            if wait(lambda name=name: rig.effects()[name], 10) is None:  # type: ignore[misc]
                faults.append(f"{name} is lost")
            worker = other
        if worker.stop():
            faults.append("the last worker did not end well")
        doubled = [name for name, many in rig.effects().items() if many > 1]
    faults += [f"done twice: {name}" for name in doubled]
    figures = {
        "database": asked.database,
        "rounds": asked.rounds,
        "time to finish s": asked.drain,
        "lost": sum("is lost" in fault for fault in faults),
        "doubled": len(doubled),
        "longest until taken by another s": round(max(waits), 1),
        "longest exit s": round(max(exits), 1),
    }
    return show(figures, faults)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--drain", type=float, default=DRAIN_SECONDS, help="the product's own is 20")


if __name__ == "__main__":
    sys.exit(main())
