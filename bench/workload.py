"""The operations, and the requests that they consist of."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from contenders import Contender
from data import LABELS, World
from wrk import Request

READS = frozenset({200})
OPERATIONS: dict[str, tuple[str, frozenset[int]]] = {
    "L": ("list of 20 by cursor, first and second page", READS),
    "L2": ("list by status, ordered by due date", READS),
    "G": ("one task", READS),
    "C": ("create a task, with its log row", frozenset({201})),
    "U": ("patch a task, with its log row", READS),
    "S": ("search", READS),
    "N": ("list that has not changed (304)", frozenset({304})),
    "M": ("70 % reads, 20 % patches, 10 % creates", frozenset({200, 201})),
}
"""What each is, and the statuses that are right."""
SINGLE = ("L", "L2", "G", "C", "U", "S")
"""The operations that consist of one kind of request."""
BY_DUE = "tasks/?status=pending&ordering=due_date"
MANY, SOME, READERS = 20_000, 2_000, 200
PRIORITIES = ("low", "medium", "high", "urgent")
WORDS = slice(20, 400)
"""Which words are searched for: neither the commonest nor those that hardly anyone has."""


class Requests:
    """Makes the requests to one contender. Each contender gets the same ones, but for tokens and cursors."""

    def __init__(self, contender: Contender, world: World) -> None:
        self.contender, self.world = contender, world
        self.chance = random.Random(7)

    def made(self, operation: str) -> list[Request]:
        """Those of an operation that consists of one kind of request."""
        make = {"L": self.lists, "L2": self.by_due, "G": self.gets, "C": self.creates, "U": self.patches}
        return {**make, "S": self.searches}[operation]()

    def someone(self) -> int:
        """Anyone's place."""
        return self.chance.randrange(len(self.world.people))

    def many(self, make: Callable[[], Request], number: int = SOME) -> list[Request]:
        """So many requests."""
        return [make() for _ in range(number)]

    def readers(self) -> list[int]:
        """The places of some people."""
        people = len(self.world.people)
        return self.chance.sample(range(people), min(people, READERS))

    def lists(self) -> list[Request]:
        """First and second pages."""
        found = []
        for place in self.readers():
            token = self.contender.tokens[place]
            found += [Request("GET", "tasks/", token), Request("GET", second_page(self.contender, place), token)]
        return found

    def by_due(self) -> list[Request]:
        """Lists that are filtered and ordered."""
        return self.many(lambda: Request("GET", BY_DUE, self.contender.tokens[self.someone()]))

    def gets(self) -> list[Request]:
        """Tasks of all people."""
        return [
            Request("GET", f"tasks/{task}/", self.contender.tokens[place])
            for place, task in self.chance.choices(self.world.sample, k=MANY)
        ]

    def creates(self, place: int | None = None) -> list[Request]:
        """New tasks, of anyone or of one person."""

        def create() -> Request:
            owner = self.someone() if place is None else place
            return Request("POST", "tasks/", self.contender.tokens[owner], json.dumps(self.new_task()))

        return self.many(create)

    def new_task(self) -> dict[str, object]:
        """A body."""
        words = self.chance.choices(self.world.words[:2000], k=15)
        return {
            "title": " ".join(words[:4]).capitalize(),
            "description": " ".join(words[4:]),
            "priority": self.chance.choice(PRIORITIES),
            "tags": self.chance.sample(LABELS, k=2),
        }

    def patches(self, only: tuple[int, object] | None = None) -> list[Request]:
        """Other due dates and priorities, of any tasks or of one."""

        def patch() -> Request:
            place, task = only or self.chance.choice(self.world.sample)
            body = {"due_date": "2031-01-01T#Z", "priority": self.chance.choice(PRIORITIES)}
            return Request("PATCH", f"tasks/{task}/", self.contender.tokens[place], json.dumps(body))

        return self.many(patch, SOME if only else MANY)

    def searches(self) -> list[Request]:
        """Words."""

        def search() -> Request:
            word = self.chance.choice(self.world.words[WORDS])
            return Request("GET", f"tasks/?search={quote(word)}", self.contender.tokens[self.someone()])

        return self.many(search)

    def unchanged(self) -> list[Request]:
        """Lists with the entity tags that they have."""
        found = []
        for place in self.readers():
            answer = self.contender.client(place).ask("GET", "tasks/")
            found.append(Request("GET", "tasks/", self.contender.tokens[place], tag=answer.headers["ETag"]))
            answer.close()
        return found


class Workload(Requests):
    """The requests to one contender, in files."""

    def __init__(self, contender: Contender, world: World, folder: Path) -> None:
        super().__init__(contender, world)
        self.folder = folder
        for name in SINGLE:
            self.write(name, self.made(name))
        self.write("M", self.mix())

    def file(self, operation: str) -> Path:
        """Its requests. Those of N are made now: their entity tags are of now."""
        if operation == "N":
            self.write("N", self.unchanged())
        return self.folder / f"{operation}.tsv"

    def write(self, name: str, requests: Iterable[Request]) -> Path:
        """A file of requests."""
        path = self.folder / f"{name}.tsv"
        path.write_text("".join(request.line() for request in requests))
        return path

    def mix(self) -> list[Request]:
        """Everything at once."""
        parts = {"L": 30, "L2": 15, "G": 25, "U": 20, "C": 10}
        pools = {name: self.written(name) for name in parts}
        names = self.chance.choices(list(parts), list(parts.values()), k=MANY)
        return [self.chance.choice(pools[name]) for name in names]

    def written(self, name: str) -> list[Request]:
        """The requests of another operation, as they are in its file."""
        lines = (self.folder / f"{name}.tsv").read_text().splitlines()
        rows = (line.split("\t") for line in lines)
        return [
            Request(method, path.removeprefix("/api/v1/"), token, body, tag) for method, path, token, tag, body in rows
        ]


def second_page(contender: Contender, place: int) -> str:
    """The path of what follows the first page."""
    page = json.loads(contender.client(place).send("GET", "tasks/")[1])
    if "pagination" not in page:
        return "tasks/?page=2"
    return f"tasks/?cursor={quote(page['pagination']['next_cursor'])}"
