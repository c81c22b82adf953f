"""Three schedulers, killed -9 in turn, then all down for a while: what runs each second is neither missed nor doubled.

    .venv/bin/python -m tests.resilience.schedulers --database sqlite --kills 10 --down 600

Prints every fault, and as the last line the figures as JSON. Exit code 0 when all is well.
"""

import argparse
import itertools
import random
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.resilience.queue_rig import options, queue_rig, show, wait

if TYPE_CHECKING:
    from datetime import datetime

    from tests.jobs.rig import Program, Rig

SCHEDULERS = 3
START_SECONDS = 60.0
LONGEST_GAP_SECONDS = 4.0
"""Much more than a second: the machine may be busy. Nothing is due more than once after a gap."""
CATCH_UP_SECONDS = 60.0


def main() -> int:
    asked = options("schedulers", __doc__.partition("\n")[0] if __doc__ else None, _add)
    choose = random.Random(asked.seed)
    faults: list[str] = []
    with queue_rig(asked.database) as rig:
        worker = rig.start("worker", TICKS=True)
        schedulers = [_scheduler(rig) for _ in range(SCHEDULERS)]
        if wait(lambda: len(_ticks()) > 2, START_SECONDS) is None:
            return show({}, ["nothing ticks"])
        for number in range(asked.kills):
            time.sleep(choose.uniform(0.5, 2.0))
            # On a busy machine all three could else be starting at once, and nobody would be there to tick.
            wait(lambda: all(scheduler.said("scheduler started") for scheduler in schedulers), START_SECONDS)
            schedulers[number % SCHEDULERS].kill()
            schedulers[number % SCHEDULERS] = _scheduler(rig)
        time.sleep(2)
        gap = _longest_gap(_ticks())
        for scheduler in schedulers:
            scheduler.kill()
        before = len(_ticks())
        time.sleep(asked.down)
        if len(_ticks()) != before:
            faults.append("it ticked without a scheduler")
        caught_up = _start_again(rig)
        time.sleep(3)
        ticks = _ticks()
        doubled = _doubled(ticks)
        if worker.stop():
            faults.append("the worker did not end well")
        if wait(lambda: rig.effects()["tick"] >= len(ticks) - 1, 10) is None:
            faults.append(f"{len(ticks)} were queued, {rig.effects()['tick']} done")
    faults += [f"queued twice within a second: {at}" for at in doubled]
    if gap > LONGEST_GAP_SECONDS:
        faults.append(f"{gap:.1f} s without a tick while schedulers ran")
    if caught_up is None or caught_up > CATCH_UP_SECONDS:
        faults.append(f"caught up after {caught_up} s")
    figures = {
        "database": asked.database,
        "seed": asked.seed,
        "kills": asked.kills,
        "all down s": asked.down,
        "ticks": len(ticks),
        "doubled": len(doubled),
        "missed": int(gap > LONGEST_GAP_SECONDS),
        "longest gap s": round(gap, 1),
        "caught up after s": caught_up and round(caught_up, 1),
    }
    return show(figures, faults)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--down", type=float, default=600.0, help="seconds without any scheduler")


def _scheduler(rig: "Rig") -> "Program":
    return rig.start("scheduler", TICKS=True)


def _start_again(rig: "Rig") -> float | None:
    """How long after the first scheduler is up it ticks."""
    before = len(_ticks())
    schedulers = [_scheduler(rig) for _ in range(SCHEDULERS)]
    wait(lambda: any(scheduler.said("scheduler started") for scheduler in schedulers), START_SECONDS)
    return wait(lambda: len(_ticks()) > before, CATCH_UP_SECONDS)


def _ticks() -> "list[datetime]":
    from duely.jobs.models import Job

    return list(Job.objects.filter(name="sample.tick").order_by("created_at").values_list("created_at", flat=True))


def _longest_gap(ticks: "list[datetime]") -> float:
    return max((after - before).total_seconds() for before, after in itertools.pairwise(ticks))


def _doubled(ticks: "list[datetime]") -> "list[datetime]":
    """Those that lie in the same second of the schedule's own grid as the one before."""
    from duely.jobs.models import Schedule

    grid = Schedule.objects.get(name="sample.tick").next_at
    slots = [(at - grid) // timedelta(seconds=1) for at in ticks]
    return [at for at, slot, former in zip(ticks[1:], slots[1:], slots, strict=False) if slot == former]


if __name__ == "__main__":
    sys.exit(main())
