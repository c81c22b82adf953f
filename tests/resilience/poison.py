"""Jobs that kill their process, while others go on: the first are dead after their attempts, the others hardly wait.

    .venv/bin/python -m tests.resilience.poison --database sqlite --poisons 2 --others 60

A worker is started again by its supervisor, as `duely serve` does. Prints every fault, and as the last line the figures
as JSON. Exit code 0 when all is well.
"""

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING

from tests.resilience.queue_rig import options, queue_rig, show, wait

if TYPE_CHECKING:
    from tests.jobs.rig import Rig

START_SECONDS = 60.0
WORKERS = 2


def main() -> int:
    asked = options("poison", __doc__.partition("\n")[0] if __doc__ else None, _add)
    faults: list[str] = []
    with queue_rig(asked.database) as rig:
        from jobs import sample

        supervisors = [rig.start("supervise", "worker", LEASE=asked.lease) for _ in range(WORKERS)]
        if _delay(rig, "first") is None:
            return show({}, ["no worker works"])
        well = _delays(rig, "well", asked.others, faults)
        poisons = [rig.queue(sample.crash, f"poison{number}") for number in range(asked.poisons)]
        troubled = _delays(rig, "troubled", asked.others, faults)
        patience = (asked.lease + 30) * 4
        if wait(lambda: _states(poisons) == {"dead"}, patience) is None:
            faults.append(f"poisoned jobs are {_states(poisons)}")
        attempts = sorted(set(_attempts(poisons)))
        for supervisor in supervisors:
            if supervisor.stop():
                faults.append("a supervisor did not end well")
        restarts = sum(_restarts(supervisor.out.read_text(errors="replace")) for supervisor in supervisors)
        effects = rig.effects()
    doubled = [name for name, many in effects.items() if many > 1]
    faults += [f"done twice: {name}" for name in doubled]
    figures = {
        "database": asked.database,
        "lease": asked.lease,
        "poisoned jobs": asked.poisons,
        "attempts of each": attempts,
        "restarts of workers": restarts,
        "other jobs": 2 * asked.others,
        "doubled": len(doubled),
        "delay of others, well: median ms": round(statistics.median(well) * 1000),
        "delay of others, troubled: median ms": round(statistics.median(troubled) * 1000),
        "delay of others, troubled: longest ms": round(max(troubled) * 1000),
    }
    return show(figures, faults)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--poisons", type=int, default=2)
    parser.add_argument("--others", type=int, default=60, help="jobs before, and as many after")


def _delays(rig: "Rig", kind: str, many: int, faults: list[str]) -> list[float]:
    """One after the other, each queued when the one before is done, a little apart."""
    delays = []
    for number in range(many):
        delay = _delay(rig, f"{kind}{number}")
        if delay is None:
            faults.append(f"{kind}{number} was not done")
        delays.append(delay or START_SECONDS)
        time.sleep(0.1)
    return delays


def _delay(rig: "Rig", name: str) -> float | None:
    from jobs import sample

    rig.queue(sample.note, name)
    return wait(lambda: rig.effects()[name], START_SECONDS)


def _states(jobs: list[object]) -> set[str]:
    from duely.jobs.models import Job

    return set(Job.objects.filter(pk__in=jobs).values_list("state", flat=True))


def _attempts(jobs: list[object]) -> list[int]:
    from duely.jobs.models import Job

    return list(Job.objects.filter(pk__in=jobs).values_list("attempts", flat=True))


def _restarts(log: str) -> int:
    return log.count("child ended, starting it again")


if __name__ == "__main__":
    sys.exit(main())
