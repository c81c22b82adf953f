"""Duely beside a textbook app and beside the least that is possible: `make bench`, with flags in BENCH_FLAGS.

Loads the same data for each, checks that all give the same answers, and measures each operation with wrk in rounds:
within a round everyone's turn comes, and who is first changes from round to round. Prints the medians, and writes them
as JSON and as a chart. Exit code 1 when answers differ, a request fails or a check is not met; 2 when it cannot start.

    make bench BENCH_FLAGS="--quick"
    make bench BENCH_FLAGS="--quick --contenders duely --against HEAD --operations L,C"

docs/guides/benchmark.md says how to read it.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import agreement
import contenders
import data
import goals
import machine
import probes
import report
import wrk
from contenders import Contender
from databases import Databases
from report import Check, Measurement
from workload import OPERATIONS, Workload

ROOT = Path(__file__).parents[1]
CONTENDED = {
    "C1": ("creates, all for one owner", OPERATIONS["C"][1]),
    "U1": ("patches, all of one task", OPERATIONS["U"][1]),
}
CONTENDERS_AT_ONCE = 64
SHOWN = 5
"""Differences that are printed."""
STALL_MILLISECONDS = 100
NAMES = ("duely", "baseline", "floor")


@dataclass
class Bench:
    """What a run has at hand."""

    wanted: argparse.Namespace
    database_pid: int | None
    workloads: list[Workload]
    measurements: list[Measurement]
    memory: dict[str, float]
    sent: int = 0
    """Requests so far. Where in its file each measurement begins follows from it; nothing is patched to what it is."""

    def rounds(self, operations: dict[str, tuple[str, frozenset[int]]], connections: Sequence[int]) -> None:
        """Measure these operations, everyone in turn."""
        for number in range(self.wanted.rounds):
            first = number % len(self.workloads)
            turn = [*self.workloads[first:], *self.workloads[:first]]
            for many in connections:
                for operation, (_, statuses) in operations.items():
                    for workload in turn:
                        self.measure(workload, operation, many, number, statuses)
                    print(f"round {number + 1}: {operation} at {many} connections", file=sys.stderr, flush=True)

    def measure(
        self, workload: Workload, operation: str, connections: int, number: int, statuses: frozenset[int]
    ) -> None:
        """Warm up, measure, and note what it was."""
        contender, file = workload.contender, workload.file(operation)
        warm = wrk.run(contender.port, file, first=self.sent, connections=connections, seconds=self.wanted.warm_up)
        self.sent += warm.requests
        before = self.used(contender)
        load = wrk.run(
            contender.port,
            file,
            first=self.sent,
            connections=connections,
            seconds=self.wanted.seconds,
            meanwhile=lambda: self.weigh(contender),
        )
        server, database, wrks, every = (now - then for now, then in zip(self.used(contender), before, strict=True))
        self.sent += load.requests
        requests = max(load.requests, 1)
        self.measurements.append(
            Measurement(
                contender=contender.name,
                operation=operation,
                connections=connections,
                round=number,
                requests=load.requests,
                per_second=load.requests / load.seconds,
                p50=load.p50,
                p99=load.p99,
                longest=load.longest,
                server_cpu=server * 1000 / requests,
                database_cpu=database * 1000 / requests if self.database_pid else None,
                others=max(0.0, every - server - database - wrks) / load.seconds / machine.CORES,
                wrong=load.wrong(statuses) + warm.wrong(statuses),
            )
        )

    def used(self, contender: Contender) -> tuple[float, float, float, float]:
        """Processor seconds so far: of the server, of the database, of wrk with this program, of all."""
        database = machine.cpu_seconds(self.database_pid) if self.database_pid else 0.0
        return machine.cpu_seconds(contender.pid), database, sum(os.times()[:4]), machine.busy_seconds()

    def weigh(self, contender: Contender) -> None:
        """Note the memory of a contender, if it is the most so far."""
        self.memory[contender.name] = max(self.memory.get(contender.name, 0.0), machine.memory_mib(contender.pid))

    def contention(self) -> None:
        """Many who write for one owner, and for one task."""
        for workload in self.workloads:
            owner = workload.world.sample[0]
            workload.write("C1", workload.creates(owner[0]))
            workload.write("U1", workload.patches(owner))
        self.rounds(CONTENDED, [CONTENDERS_AT_ONCE])

    def checks(self) -> Iterator[Check]:
        """Whether each request was answered as it must be."""
        wrong: dict[str, int] = {}
        for each in self.measurements:
            if each.wrong:
                key = f"{each.contender} {each.operation} at {each.connections}"
                wrong[key] = wrong.get(key, 0) + each.wrong
        total = sum(each.requests for each in self.measurements)
        found = ", ".join(f"{number} of {key}" for key, number in wrong.items())
        yield Check("every request is answered with the right status", found or f"{total:,} of {total:,}", not wrong)


def probe(contender: Contender, world: data.World) -> Iterator[Check]:
    """What a busy instance must withstand."""
    longest, number = probes.stall(contender, world)
    name = f"others' GETs stay under {STALL_MILLISECONDS} ms while two PATCHes wait for a lock ({contender.name})"
    yield Check(name, f"at most {longest:.0f} ms, of {number}", longest < STALL_MILLISECONDS)
    failed, number = probes.killed(contender, world)
    yield Check(
        f"nothing fails when all database connections are killed ({contender.name})",
        f"{len(failed)} of {number}" + "".join(f", {each}" for each in sorted(failed)),
        not failed,
    )


@contextmanager
def running(
    wanted: argparse.Namespace, databases: Databases, world: data.World, sources: dict[str, Path], folder: Path
) -> Iterator[list[Contender]]:
    """All contenders, those from `sources` first."""
    with ExitStack() as stack:
        found = []
        for name in [*sources, *(name for name in wanted.contenders if name not in sources)]:
            place = folder / name
            place.mkdir()
            url = databases.copy(f"copy{len(found)}")
            if name in sources:
                starts = contenders.duely(name, sources[name], url, world.people, place)
            else:
                starts = getattr(contenders, name)(url, world.people, place)
            found.append(stack.enter_context(starts))
        yield found


def sources_of(wanted: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """The sources of Duely that run, by the names of their contenders.

    Copies, so that nobody who works on them meanwhile changes what is measured.
    """
    found = {}
    if "duely" in wanted.contenders:
        found["duely"] = folder / "source"
        shutil.copytree(ROOT / "src", found["duely"])
    if wanted.src:
        found["duely-src"] = folder / "source-src"
        shutil.copytree(wanted.src, found["duely-src"])
    if wanted.against:
        command = ["git", "-C", str(ROOT), "archive", wanted.against, "src"]
        archive = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if archive.returncode:
            raise SystemExit(2)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as content:
            content.extractall(folder / "source-against", filter="data")
        found[f"duely@{wanted.against.replace('/', '-')}"] = folder / "source-against" / "src"
    tables = {
        name: sorted(path.name for path in source.glob("duely/*/migrations/*.py")) for name, source in found.items()
    }
    if any(names != next(iter(tables.values())) for names in tables.values()):
        print("The two sources have other migrations: they cannot share one database.", file=sys.stderr)
        raise SystemExit(2)
    return found


def words(text: str) -> list[str]:
    """What commas part."""
    return text.split(",")


def numbers(text: str) -> list[int]:
    """Numbers that commas part."""
    return [int(number) for number in text.split(",")]


def arguments() -> argparse.Namespace:
    """What is wanted. Nothing given: 1,000 people with 1,000 tasks each, some 20 minutes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute's look: little data, one short round")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--contenders", type=words, help=f"of {','.join(NAMES)}; floor is for PostgreSQL")
    parser.add_argument("--operations", type=words, default=list(OPERATIONS), help=",".join(OPERATIONS))
    parser.add_argument("--against", metavar="REVISION", help="Duely of this git revision too")
    parser.add_argument("--src", type=Path, help="Duely of this `src` folder too")
    parser.add_argument("--users", type=int)
    parser.add_argument("--tasks", type=int, help="of each user")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of one measurement")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds before each")
    parser.add_argument("--connections", type=numbers, help="16,64")
    parser.add_argument("--probes", action=argparse.BooleanOptionalAction, default=True, help="contention and faults")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="a folder")
    wanted = parser.parse_args()
    quick = {"users": 50, "tasks": 200, "rounds": 1, "seconds": 2, "connections": [16]}
    full = {"users": 1000, "tasks": 1000, "rounds": 3, "seconds": 4, "connections": [16, 64]}
    for name, value in (quick if wanted.quick else full).items():
        if getattr(wanted, name) is None:
            setattr(wanted, name, value)
    offered = NAMES if wanted.database == "postgres" else NAMES[:2]
    wanted.contenders = wanted.contenders or list(offered)
    for kind, given, known in (("contender", wanted.contenders, offered), ("operation", wanted.operations, OPERATIONS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no such {kind} on {wanted.database}: {unknown[0]}. There are: {', '.join(known)}")
    return wanted


def measured(wanted: argparse.Namespace, folder: Path) -> tuple[list[str], Bench, list[Check]]:
    """Do it all; returns the contenders' names, the figures and the checks."""
    with ExitStack() as stack:
        sources = sources_of(wanted, folder)
        sys.path.insert(0, str(next(iter(sources.values()), ROOT / "src")))
        databases = Databases(wanted.database, folder, stack)
        begun = time.monotonic()
        data.make_tables(databases.source, str(folder))
        world = data.load(databases.source, wanted.users, wanted.tasks)
        print(f"loaded {wanted.users * wanted.tasks:,} tasks in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        found = stack.enter_context(running(wanted, databases, world, sources, folder))
        workloads = [Workload(contender, world, folder / contender.name) for contender in found]
        differences = agreement.disagreements(found, world)
        checks = [Check("all give the same answers", "; ".join(differences[:SHOWN]) or "yes", not differences)]
        print(f"ready after {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        bench = Bench(wanted, databases.pid, workloads, [], {})
        bench.rounds({name: OPERATIONS[name] for name in wanted.operations}, wanted.connections)
        if wanted.probes:
            bench.contention()
            if databases.server:
                checks += [check for each in found if each.name in sources for check in probe(each, world)]
        return [each.name for each in found], bench, [*bench.checks(), *checks]


def main() -> int:
    """Measure, print, write."""
    wanted = arguments()
    wrk.need_wrk()
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as folder:
        names, bench, checks = measured(wanted, Path(folder))
    rows = report.medians(bench.measurements)
    what = {name: text for name, (text, _) in {**OPERATIONS, **CONTENDED}.items()}
    print(report.table(rows, names, what))
    print("\npeak memory, MiB:", ", ".join(f"{name} {bench.memory[name]:.0f}" for name in names))
    print(report.noise(bench.measurements), end="\n\n")
    for check in checks:
        print("ok     " if check.is_met else "FAILED ", check.name, "-", check.found)
    wants = list(goals.goals(rows, wanted.database))
    for goal in wants:
        print("reached" if goal.is_met else "short  ", goal.name, "-", goal.found)
    wanted.output.mkdir(parents=True, exist_ok=True)
    path = wanted.output / f"{wanted.database}.json"
    asked = {name: value for name, value in vars(wanted).items() if not isinstance(value, Path)}
    about = {"machine": machine.description(), "asked": asked, "memory_mib": bench.memory}
    report.write(path, about, bench.measurements, checks, wants)
    title = f"Requests per second, {wanted.users:,} users with {wanted.tasks:,} tasks, {wanted.database}"
    path.with_suffix(".svg").write_text(report.chart(rows, names, title))
    print(f"\nwritten: {path} and {path.with_suffix('.svg').name}")
    return 0 if all(check.is_met for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
