"""Where a worker's Python time goes, by operation: `python bench/profiles.py --operations L,G,C,U`.

Starts `duely web` on a filled PostgreSQL, puts 16 connections to work, and has py-spy look 200 times a second who holds
the interpreter in one of the two workers. Prints the share of each part, as a table in Markdown. `--src` takes another
source, to have the profile of before. What a sample counts for is the innermost file of it that is named below.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import contenders
import data
import wrk
from compare import ROOT, Databases, words
from workload import Workload

CONNECTIONS = 16
PARTS = {
    "database driver and cursors": (
        "psycopg",
        "duely/database/postgresql",
        "duely/database/compiled",
        "django/db/backends",
    ),
    "querysets, models, SQL": ("django/db", "duely/database/statements", "queries.py"),
    "change log row": ("duely/activity",),
    "request log line": ("logging/", "structlog", "duely/config/logs", "json/"),
    "request slots": ("duely/database/slots", "queue.py"),
    "address, limits, headers, request id": ("duely/guard", "duely/core/ids"),
    "authentication": ("duely/accounts", "jwt/"),
    "rows to JSON": ("schemas.py", "duely/core/clock", "uuid.py"),
    "query, body, page": (
        "duely/api/lists",
        "duely/api/bodies",
        "duely/api/filters",
        "duely/api/types",
        "duely/api/versions",
    ),
    "task rules": ("duely/tasks",),
    "API framework": ("dmr/", "duely/api"),
    "Django's requests and responses": ("django/",),
    "server": ("granian",),
}
OTHER = "other"


def part_of(stack: list[str]) -> str:
    """What a sample counts for; its frames are from the outermost to the innermost."""
    for frame in reversed(stack):
        for part, places in PARTS.items():
            if any(place in frame for place in places):
                return part
    return OTHER


def samples(pid: int, seconds: int, folder: Path) -> Counter[str]:
    """How often each part held the interpreter of this process."""
    found: Counter[str] = Counter()
    output = folder / "samples"
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--gil", "--rate", "200", "--format", "raw"]
    subprocess.run(
        [*command, "--pid", str(pid), "--duration", str(seconds), "--output", str(output)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for line in output.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        found[part_of(stack.split(";"))] += int(number)
    return found


def main() -> int:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=words, default=["L", "L2", "G", "C", "U", "N"])
    parser.add_argument("--src", type=Path, default=ROOT / "src", help="of this `src` folder")
    parser.add_argument("--seconds", type=int, default=8)
    wanted = parser.parse_args()
    wrk.need_wrk()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="duely-profiles-")))
        source = folder / "source"
        shutil.copytree(wanted.src, source)
        sys.path.insert(0, str(source))
        databases = Databases("postgres", folder, stack)
        data.make_tables(databases.source, str(folder))
        world = data.load(databases.source, 100, 500)
        contender = stack.enter_context(contenders.duely("duely", source, databases.source, world.people, folder))
        workload = Workload(contender, world, folder)
        worker = int(subprocess.check_output(["pgrep", "--parent", str(contender.pid)], text=True).split()[-1])
        found: dict[str, Counter[str]] = {}
        for operation in wanted.operations:
            file = workload.file(operation)
            load = threading.Thread(
                target=wrk.run,
                args=(contender.port, file),
                kwargs={"first": 0, "connections": CONNECTIONS, "seconds": wanted.seconds + 3},
            )
            load.start()
            time.sleep(2)
            found[operation] = samples(worker, wanted.seconds, folder)
            load.join()
    print("| | " + " | ".join(found) + " |\n| --- |" + " ---: |" * len(found))
    for part in (*PARTS, OTHER):
        shares = [100 * counted[part] / max(1, counted.total()) for counted in found.values()]
        if any(shares):
            print(f"| {part} | " + " | ".join(f"{share:.0f} %" for share in shares) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
