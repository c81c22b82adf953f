"""What it costs to take everything out and to bring it in: `python bench/round_trip.py --tasks 100000`.

Starts `duely serve` on an empty database (SQLite in a temporary folder; or PostgreSQL, when DATABASE_URL names one that
may be filled), brings in so many tasks over HTTP, takes them out as JSON and as CSV, and brings both in again: into the
same account, where they must change nothing, and into another one, whose export must then say the same. Meanwhile a
reader asks for a list again and again. Prints seconds, sizes, the reader's median and 99th percentile in milliseconds,
and the most memory that any process of the service has had.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from machine import tree
from service import Client, service

CATEGORIES = 20
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima"]
JSON, CSV = "application/json", "text/csv"


def generated(tasks: int, file: Path) -> None:
    """A file as an export is one, of tasks with some 300 bytes of text, in categories, with tags and due dates."""
    chance = random.Random(1)
    ids = [f"0198c3a0-0000-7000-9000-{number:012}" for number in range(CATEGORIES)]
    with file.open("w") as out:
        categories = [{"id": each, "name": f"Category {number}"} for number, each in enumerate(ids)]
        out.write('{"format":"duely","version":1,"categories":' + json.dumps(categories) + ',\n"tasks":[\n')
        for number in range(tasks):
            task = {
                "id": f"0198c3a0-0000-7000-8000-{number:012}",
                "title": " ".join(chance.choices(WORDS, k=5)),
                "description": " ".join(chance.choices(WORDS, k=50)),
                "due_date": f"2031-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
                "tags": chance.sample(WORDS, k=2),
                "category": chance.choice(ids),
                "status": chance.choice(("pending", "completed")),
                "reminders": ["-P1D"] if number % 10 == 0 else [],
            }
            out.write((",\n" if number else "") + json.dumps(task))
        out.write("\n]}")


class Person:
    """Someone with an account of their own."""

    def __init__(self, port: int, name: str) -> None:
        self.port = port
        account = {"username": name, "email": f"{name}@example.org", "password": "correct horse battery"}
        Client(port).send("POST", "auth/signup/", json.dumps(account).encode())
        self.credentials = json.dumps({"username": name, "password": "correct horse battery"}).encode()

    def token(self) -> str:
        return str(json.loads(Client(self.port).send("POST", "auth/login/", self.credentials)[1])["access"])

    def send(self, method: str, path: str, body: IO[bytes] | None, media: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1200)
        headers = {"Authorization": f"Bearer {self.token()}", "Content-Type": media}
        if body is not None:
            headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
        connection.request(method, f"/api/v1/{path}", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read()[:500]!r}")
        return answer

    def export(self, file: Path, kind: str) -> None:
        with file.open("wb") as out:
            shutil.copyfileobj(self.send("GET", f"export/?format={kind}", None, JSON), out)

    def bring(self, file: Path, media: str) -> dict[str, Any]:
        with file.open("rb") as body:
            found: dict[str, Any] = json.loads(self.send("POST", "import/", body, media).read())
        return {name: number for name, number in found["tasks"].items() if number}


class Reader:
    """Asks for a list again and again, ten times a second."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.latencies: list[float] = []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        client, until = Client(self.person.port), 0.0
        client.connection.timeout = 120
        while not self.ends.wait(0.1):
            if time.monotonic() > until:  # a token works for ten minutes
                client = Client(self.person.port, self.person.token())
                until = time.monotonic() + 300
            begun = time.perf_counter()
            if client.send("GET", "tasks/")[0] != 200:
                raise SystemExit("a list was not answered")
            self.latencies.append((time.perf_counter() - begun) * 1000)


def memory() -> dict[str, int]:
    """The most MiB that each kind of process has had at once, by its command."""
    found: dict[str, int] = {}
    for process in list(tree(os.getpid()))[1:]:
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
        name = (re.findall(r"duely (\w+)", command) or ["web process"])[-1]
        if peak:
            found[name] = max(found.get(name, 0), int(peak[1]) // 1024)
    return found


def tasks_of(file: Path) -> list[Any]:
    """What an export says of tasks, without their ids and in an order that does not follow from these."""
    whole = json.loads(file.read_bytes())
    names = {category["id"]: category["name"] for category in whole["categories"]}
    tasks = [{**task, "id": None, "category": names.get(task["category"])} for task in whole["tasks"]]
    return sorted(tasks, key=json.dumps)


def main() -> int:
    """Measure and print; exit code 1 when something was lost or changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duely-bench-") as directory, service(1) as (port, _):
        first, again, other, table = (Path(directory, name) for name in ("first", "again", "other", "table"))
        generated(wanted.tasks, first)
        ada, ben = Person(port, "ada"), Person(port, "ben")
        print("at rest, MiB:", memory())

        def step(name: str, action: Callable[[], Any], file: Path) -> Any:
            reader = Reader(ben)
            reader.thread.start()
            begun = time.perf_counter()
            found = action()
            seconds = time.perf_counter() - begun
            reader.ends.set()
            reader.thread.join()
            cuts = statistics.quantiles(reader.latencies if len(reader.latencies) > 1 else [0, 0], n=100)
            size = file.stat().st_size / 2**20
            read = f"reader {cuts[49]:6.1f} {cuts[98]:7.1f} ms"
            print(f"{name:30}{seconds:8.1f} s {size:7.1f} MiB   {read}   {found or ''}", flush=True)
            return found

        step("import", lambda: ada.bring(first, JSON), first)
        step("export", lambda: ada.export(again, "json"), again)
        step("export as a table", lambda: ada.export(table, "csv"), table)
        print("peak, MiB:", memory())
        same = step("import of the same", lambda: ada.bring(again, JSON), again)
        same_table = step("import of the same table", lambda: ada.bring(table, CSV), table)
        step("import into another account", lambda: ben.bring(again, JSON), again)
        step("export of that", lambda: ben.export(other, "json"), other)
        print("peak, MiB:", memory())
        lossless = tasks_of(again) == tasks_of(other)
        print("lossless:", lossless)
    return 0 if lossless and same == same_table == {"unchanged": wanted.tasks} else 1


if __name__ == "__main__":
    sys.exit(main())
