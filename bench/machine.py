"""What processes cost, from /proc: processor time and memory of a process with all that it has started."""

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (thread / "children").read_text().split()
        except OSError:  # it has ended meanwhile
            continue
        for child in children:
            yield from tree(int(child))


def cpu_seconds(pid: int) -> float:
    """User and system time of a tree so far, those that have ended and were waited for included."""
    return sum(map(_ticks, tree(pid))) / TICKS_PER_SECOND


def busy_seconds() -> float:
    """What all processes of the machine have used of its processors so far, and what others than it have taken."""
    user, nice, system, _, _, irq, soft_irq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / TICKS_PER_SECOND


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # utime, stime, cutime, cstime: the 14th to 17th field; the second may hold blanks and brackets.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def memory_mib(pid: int) -> float:
    """Memory of a tree: each page counts once, shared among those that share it (PSS)."""
    return sum(map(_pss_kib, tree(pid))) / 1024


def _pss_kib(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def description() -> dict[str, object]:
    """The machine, for whoever reads the figures later."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": CORES,
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
