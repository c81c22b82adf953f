"""What Duely wants to reach, at 16 connections: beside the textbook, beside the least that is possible."""

import statistics
from collections.abc import Iterator, Sequence

from report import Check, Row

CONNECTIONS = 16
TIMES_THE_BASELINE = {"L": 7.0, "L2": 7.0, "G": 5.0, "C": 3.5, "U": 4.0, "N": 12.0}
SHARE_OF_THE_FLOOR = {"L": 0.55, "L2": 0.60, "G": 0.50, "C": 0.70, "U": 0.75}
SQLITE_MILLISECONDS = {"C": 30.0, "U": 30.0}
"""p99 of writes on SQLite."""


def goals(rows: Sequence[Row], database: str) -> Iterator[Check]:
    """Those that this run can tell of, each with what it found."""
    found = {(row.contender, row.operation): row for row in rows if row.connections == CONNECTIONS}
    for (contender, operation), duely in found.items():
        if contender != "duely":
            continue
        if database == "sqlite":
            if operation in SQLITE_MILLISECONDS:
                yield _at_most(f"{operation} on SQLite: p99", duely.p99, SQLITE_MILLISECONDS[operation])
            continue
        baseline, floor = found.get(("baseline", operation)), found.get(("floor", operation))
        if baseline and operation in TIMES_THE_BASELINE:
            times, wanted = statistics.median(baseline.times), TIMES_THE_BASELINE[operation]
            yield Check(f"{operation}: {wanted:g} times the baseline", f"{times:.1f} times", times >= wanted)
            yield _at_most(f"{operation}: p99 at most the baseline's p50,", duely.p99, baseline.p50)
        if floor and operation in SHARE_OF_THE_FLOOR:
            share, wanted = statistics.median(floor.times), SHARE_OF_THE_FLOOR[operation]
            yield Check(f"{operation}: {wanted:.0%} of the floor", f"{share:.0%}", share >= wanted)


def _at_most(what: str, milliseconds: float, most: float) -> Check:
    return Check(f"{what} {most:.0f} ms", f"{milliseconds:.0f} ms", milliseconds <= most)
