"""Whether Duely stays as quick with ever more tasks: `make bench-growth`, with flags in BENCH_FLAGS.

Loads databases of several sizes beside each other, one user with a tenth of all tasks in each, starts a Duely for each,
and sends the same requests to all in turn, one at a time. Prints the median of each operation for each size, and how
many times as long it takes with the most tasks as with 100,000. Exit code 1 when that is too much, when a page far
behind takes longer than the first one, or when a request fails; 2 when it cannot start.

    make bench-growth BENCH_FLAGS="--sizes 10000,100000"

docs/guides/benchmark.md says how to read it.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from uuid import UUID

import contenders
import data
import machine
import report
from contenders import Contender
from data import Person, World
from databases import Databases
from report import Check
from service import Client
from workload import OPERATIONS, SINGLE, Requests
from wrk import Request

ROOT = Path(__file__).parents[1]
SIZES = {"postgres": [10_000, 100_000, 1_000_000, 10_000_000], "sqlite": [10_000, 100_000, 1_000_000]}
EACH = 1_000
"""Tasks of each user but the first, who has a tenth of all."""
PEOPLE = 50
"""How many of the others send requests. As many at each size, so that as much of it is in memory."""
DIFFERENT = 100
"""Requests of an operation. Each is sent once before it counts."""
PAGE, FAR, LONGEST = 20, 10_000, 100
"""Tasks of a page, the page far behind, and the longest that a page may be."""
LATE, WARM = 50, 5
"""Tasks that a sweep finds, and sweeps before the first that counts."""
BASE = 100_000
SLOWER, FARTHER = 1.5, 1.2
"""How many times as long it may take with the most tasks as with BASE, and far behind as on the first page."""
MANY, ONE, CLOCK = f"users with {EACH:,} tasks each", "the user with a tenth of all tasks", "the clock"
SWEEP = """
import sys, time, django
django.setup()
from datetime import datetime
from django.db import transaction
from django.db.models import F
from duely.tasks.actions import mark_overdue
from duely.tasks.models import Task
from duely.tasks.queries import late_tasks
for line in sys.stdin:
    at, limit = line.split()
    now, limit = datetime.fromisoformat(at), int(limit)
    with transaction.atomic():
        late = [task.pk for task in late_tasks(now, limit)]
    begun = time.perf_counter()
    number = mark_overdue(now=now, limit=limit)
    taken = time.perf_counter() - begun
    Task.objects.filter(pk__in=late).update(status=F("former_status"), former_status=None)
    print(taken * 1000, number, flush=True)
"""
"""Reads lines of an instant and a limit; prints how long a sweep took, in milliseconds, and how many tasks it found.

Then it lets these be as they were: so the next sweep finds the same ones, as other requests are sent again too.
"""
FIRST, BEHIND = "page 1", "page 10,000"
FIRST_DUE, BEHIND_DUE = "page 1, due", "page 10,000, due"
WHAT = {
    **{name: what for name, (what, _) in OPERATIONS.items() if name in SINGLE},
    "log": "the log's first page",
    "log since": "the log since a number",
    FIRST: "list, first page",
    BEHIND: "list, by cursor",
    FIRST_DUE: "list ordered by due date, first page",
    BEHIND_DUE: "list ordered by due date, by cursor",
    "sweep": f"overdue sweep that finds {LATE} tasks",
    "no sweep": "overdue sweep that finds none",
}
PAIRS = {BEHIND: FIRST, BEHIND_DUE: FIRST_DUE}


@dataclass
class Instance:
    """A running Duely with so many tasks."""

    size: int
    contender: Contender
    sweeper: "Sweeper"
    requests: dict[tuple[str, str], list[Request]]
    depth: int
    """How many tasks stand before the page far behind."""
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.contender.port)

    def send(self, request: Request, mark: str) -> tuple[float, int]:
        """Milliseconds, and the status."""
        self.client.headers["Authorization"] = f"Bearer {request.token}"
        body = request.body.replace("#", mark).encode() or None
        begun = time.perf_counter()
        status, _ = self.client.send(request.method, request.path, body)
        return (time.perf_counter() - begun) * 1000, status


@dataclass
class Figures:
    """What an operation took with so many tasks, in milliseconds."""

    who: str
    operation: str
    size: int
    taken: list[float] = field(default_factory=list)
    wrong: int = 0

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.taken)

    @property
    def p95(self) -> float:
        """95 of 100 took no longer."""
        return statistics.quantiles(self.taken, n=20)[-1]


class Sweeper:
    """A process that sweeps when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin
        assert process.stdout
        self.put: IO[str] = process.stdin
        self.got: IO[str] = process.stdout

    def sweep(self, year: int) -> tuple[float, int]:
        """Milliseconds, and how many tasks were late on the first day of this year."""
        self.put.write(f"{year}-01-01T00:00:00+00:00 {LATE}\n")
        self.put.flush()
        milliseconds, number = self.got.readline().split()
        return float(milliseconds), int(number)


@contextmanager
def sweeping(url: str, source: Path, folder: Path) -> Iterator[Sweeper]:
    """A sweeper of this database."""
    env = contenders.environment(url, source) | {
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "duely.config.settings",
    }
    command = [sys.executable, "-P", "-c", SWEEP]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, cwd=folder, text=True) as process:
        try:
            yield Sweeper(process)
        finally:
            process.terminate()


def load(databases: Databases, size: int) -> str:
    """A database with so many tasks; returns its address. One that an earlier run has left is taken as it is."""
    if not databases.has(str(size)):
        begun = time.monotonic()
        url, first = databases.copy("loading"), max(size // 10, EACH)
        data.load(url, 1 + (size - first) // EACH, EACH, first=first // EACH)
        databases.rename("loading", str(size))
        print(f"loaded {size:,} tasks in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return databases.url(str(size))


def people_of(url: str) -> list[Person]:
    """The one with the most tasks, and some of the others."""
    found = data.rows(
        url,
        "SELECT u.username, u.id, s.id FROM accounts_user u JOIN accounts_session s ON s.user_id = u.id"
        " ORDER BY u.id LIMIT %s",
        1 + PEOPLE,
    )
    return [Person(name, _id(user), _id(session), ()) for name, user, session in found]


def tasks_of(url: str, person: Person, number: int) -> list[UUID]:
    """Some tasks that are not in the trash, of any age."""
    chance, end = random.Random(person.name), datetime.now(UTC)
    found = []
    for _ in range(number):
        since = end - timedelta(days=1 + chance.random() * (data.DAYS - 2))
        found += data.rows(
            url,
            "SELECT id FROM tasks_task WHERE owner_id = %s AND deleted_at IS NULL AND created_at > %s"
            " ORDER BY created_at LIMIT 1",
            person.id.hex,
            data.shown(since),
        )
    return [_id(key) for (key,) in found]


def _id(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def requests_of(
    contender: Contender, people: list[Person], who: str, words: list[str]
) -> dict[tuple[str, str], list[Request]]:
    """All requests of some people, by operation."""
    number = max(1, 2 * DIFFERENT // len(people))
    sample = [(place, task) for place, each in enumerate(people) for task in tasks_of(contender.url, each, number)]
    random.Random(2).shuffle(sample)
    make = Requests(contender, World(people, sample, words))
    found = {(who, name): make.made(name)[:DIFFERENT] for name in SINGLE}
    tokens, chance = contender.tokens, random.Random(3)
    found[who, "log"] = [Request("GET", "activity-logs/", token) for token in tokens]
    found[who, "log since"] = [
        Request("GET", f"activity-logs/?ordering=seq&seq__gt={chance.randrange(EACH - PAGE)}", chance.choice(tokens))
        for _ in range(DIFFERENT)
    ]
    return found


def far_behind(contender: Contender, query: str) -> tuple[Request, int]:
    """A request for a page as far behind as page 10,000, or as there is one; how many tasks are before it."""
    client, cursors = contender.client(0), []
    path = f"tasks/?{query}limit={LONGEST}&fields=id"
    while len(cursors) * LONGEST < (FAR - 1) * PAGE:
        follows = f"&cursor={quote(cursors[-1])}" if cursors else ""
        page = json.loads(client.send("GET", path + follows)[1])["pagination"]
        if not page["has_more"]:
            cursors.pop()
            break
        cursors.append(page["next_cursor"])
    return Request("GET", f"tasks/?{query}cursor={quote(cursors[-1])}", contender.tokens[0]), len(cursors) * LONGEST


@contextmanager
def running(size: int, url: str, source: Path, folder: Path) -> Iterator[Instance]:
    """A Duely on this database."""
    folder.mkdir()
    people, words = people_of(url), data.words()
    with (
        contenders.duely(str(size), source, url, people, folder, workers=1) as everyone,
        sweeping(url, source, folder) as sweeper,
    ):
        one, many = (replace(everyone, tokens=everyone.tokens[part]) for part in (slice(1), slice(1, None)))
        requests = requests_of(many, people[1:], MANY, words) | requests_of(one, people[:1], ONE, words)
        depth = 0
        for query, first, behind in (("", FIRST, BEHIND), ("ordering=due_date&", FIRST_DUE, BEHIND_DUE)):
            request, depth = far_behind(one, query)
            requests |= {(ONE, first): [Request("GET", f"tasks/?{query}", one.tokens[0])], (ONE, behind): [request]}
        yield Instance(size, everyone, sweeper, requests, depth)


def measure(instances: Sequence[Instance], number: int) -> list[Figures]:
    """Send so many requests of each operation to each instance, all in turn, after as many as warm up."""
    rows = list(instances[0].requests)
    found = {(row, each.size): Figures(*row, each.size) for row in rows for each in instances}
    for turn in range(DIFFERENT + number):
        mark = str(timedelta(seconds=turn)).zfill(8)
        for place, row in enumerate(rows):
            for instance in _turned(instances, turn + place):
                requests = instance.requests[row]
                taken, status = instance.send(requests[turn % len(requests)], mark)
                figures = found[row, instance.size]
                figures.wrong += status not in (200, 201)
                if turn >= DIFFERENT:
                    figures.taken.append(taken)
        if turn % 20 == 0:
            print(f"{turn} of {DIFFERENT + number}", file=sys.stderr, flush=True)
    return list(found.values())


def sweeps(instances: Sequence[Instance], number: int) -> list[Figures]:
    """So many sweeps of each instance, after a few that warm up."""
    found = {(name, each.size): Figures(CLOCK, name, each.size) for name in ("no sweep", "sweep") for each in instances}
    for turn in range(WARM + number):
        for (name, year), instance in itertools.product(
            (("no sweep", 2000), ("sweep", 2100)), _turned(instances, turn)
        ):
            taken, late = instance.sweeper.sweep(year)
            figures = found[name, instance.size]
            figures.wrong += late != (LATE if name == "sweep" else 0)
            if turn >= WARM:
                figures.taken.append(taken)
    return list(found.values())


def _turned(instances: Sequence[Instance], turn: int) -> list[Instance]:
    """Each time another one comes first."""
    first = turn % len(instances)
    return [*instances[first:], *instances[:first]]


def table(figures: Sequence[Figures], sizes: Sequence[int], base: int) -> str:
    """Medians, for people."""
    width = 4 + max(map(len, WHAT)) + max(map(len, WHAT.values()))
    lines, last = [], ""
    for (who, operation), group in _grouped(figures).items():
        if who != last:
            head = "".join(f"{size:>12,}" for size in sizes)
            lines += ["", f"{f'{who}: p50 in ms':{width}}{head}{'growth':>10}"]
            last = who
        name = f"  {operation:{max(map(len, WHAT)) + 2}}{WHAT[operation]}"
        times = f"x {growth(group, base):.2f}"
        lines.append(f"{name:{width}}" + "".join(f"{group[size].p50:>12.2f}" for size in sizes) + f"{times:>10}")
    return "\n".join(lines)


def _grouped(figures: Sequence[Figures]) -> dict[tuple[str, str], dict[int, Figures]]:
    found: dict[tuple[str, str], dict[int, Figures]] = {}
    for each in figures:
        found.setdefault((each.who, each.operation), {})[each.size] = each
    return found


def growth(group: dict[int, Figures], base: int) -> float:
    """How many times as long it takes with the most tasks as with so many."""
    return ratio(group[max(group)], group[base])


def ratio(one: Figures, other: Figures) -> float:
    """How many times as long the one takes: the median, each time beside what was sent next to it."""
    return statistics.median(mine / theirs for mine, theirs in zip(one.taken, other.taken, strict=True))


def checks(figures: Sequence[Figures], depths: dict[int, int], base: int) -> Iterator[Check]:
    """What must hold."""
    wrong = [f"{each.wrong} of {each.operation} at {each.size:,}" for each in figures if each.wrong]
    yield Check(
        "every request is answered with the right status, every sweep finds what is late",
        ", ".join(wrong) or "yes",
        not wrong,
    )
    groups = _grouped(figures)
    slower = [
        f"{operation} of {who}: x {growth(group, base):.2f}"
        for (who, operation), group in groups.items()
        if growth(group, base) > SLOWER
    ]
    name = f"nothing takes more than {SLOWER} times as long with {max(depths):,} tasks as with {base:,}"
    yield Check(name, "; ".join(slower) or "yes", not slower)
    for behind, first in PAIRS.items():
        for size, depth in depths.items():
            times = ratio(groups[ONE, behind][size], groups[ONE, first][size])
            name = f"{first} and the page {depth:,} tasks behind it, at {size:,}: at most x {FARTHER}"
            yield Check(name, f"x {times:.2f}", times <= FARTHER)


def numbers(text: str) -> list[int]:
    """Numbers that commas part."""
    return sorted(int(number) for number in text.split(","))


def arguments() -> argparse.Namespace:
    """What is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--sizes", type=numbers, help="10000,100000,…: powers of ten")
    parser.add_argument("--requests", type=int, default=300, help="of each operation, user and size")
    parser.add_argument("--sweeps", type=int, default=40, help="of each size")
    parser.add_argument(
        "--keep", action="store_true", help="leave the databases for the next run, and take those of the last"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench", help="a folder")
    wanted = parser.parse_args()
    wanted.sizes = wanted.sizes or SIZES[wanted.database]
    if wanted.keep and wanted.database == "postgres" and "DATABASE_URL" not in os.environ:
        parser.error("with --keep, DATABASE_URL must name a server that stays")
    return wanted


def measured(wanted: argparse.Namespace, folder: Path) -> tuple[list[Figures], dict[int, int]]:
    """Do it all; returns the figures, and how far behind the last page is at each size."""
    with ExitStack() as stack:
        source = folder / "source"
        shutil.copytree(ROOT / "src", source)
        sys.path.insert(0, str(source))
        place = wanted.output / "growth" if wanted.keep else folder
        place.mkdir(parents=True, exist_ok=True)
        databases = Databases(wanted.database, place, stack, kept="duely_growth" if wanted.keep else "")
        data.make_tables(databases.source, str(folder))
        urls = {size: load(databases, size) for size in wanted.sizes}
        instances = [stack.enter_context(running(size, url, source, folder / str(size))) for size, url in urls.items()]
        figures = measure(instances, wanted.requests)
        return figures + sweeps(instances, wanted.sweeps), {each.size: each.depth for each in instances}


def main() -> int:
    """Measure, print, write."""
    wanted = arguments()
    base = BASE if BASE in wanted.sizes else wanted.sizes[0]
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as folder:
        figures, depths = measured(wanted, Path(folder))
    print(table(figures, wanted.sizes, base), end="\n\n")
    found = list(checks(figures, depths, base))
    for check in found:
        print("ok    " if check.is_met else "FAILED", check.name, "-", check.found)
    wanted.output.mkdir(parents=True, exist_ok=True)
    path = wanted.output / f"growth-{wanted.database}.json"
    rows = [{**asdict(each), "p50": each.p50, "p95": each.p95} for each in figures]
    about = {
        "machine": machine.description(),
        "depths": depths,
        "figures": rows,
        "checks": [asdict(check) for check in found],
    }
    path.write_text(json.dumps(about, indent=1) + "\n")
    bars = {
        f"{operation}, {who.partition(' with')[0]}": [(f"{size:,}", each.p50) for size, each in group.items()]
        for (who, operation), group in _grouped(figures).items()
    }
    title = f"Milliseconds (median) with so many tasks, {wanted.database}"
    path.with_suffix(".svg").write_text(report.bars(title, [f"{size:,}" for size in wanted.sizes], bars, digits=2))
    print(f"\nwritten: {path} and {path.with_suffix('.svg').name}")
    return 0 if all(check.is_met for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
