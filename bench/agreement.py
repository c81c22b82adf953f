"""Whether all contenders give the same answers: only then do their figures compare."""

import json
from collections.abc import Iterator
from typing import Any

from contenders import Contender
from data import World, count
from workload import BY_DUE, WORDS, second_page

PEOPLE = 5
COMMON = ("id", "title", "description", "status", "priority", "category", "tags")
"""What the baseline has too, beside the due date and the times, which it writes in other forms."""


def disagreements(contenders: list[Contender], world: World) -> list[str]:
    """What differs between the first contender and the others; empty when nothing does."""
    found: list[str] = []
    places = range(0, len(world.people), max(1, len(world.people) // PEOPLE))
    for place in places:
        own = [task for owner, task in world.sample if owner == place][:2]
        word = world.words[WORDS][place % 50]
        paths = ["tasks/", "second page", BY_DUE, f"tasks/?search={word}", *(f"tasks/{task}/" for task in own)]
        for path in paths:
            answers = [_answer(contender, place, path) for contender in contenders]
            for contender, answer in zip(contenders[1:], answers[1:], strict=True):
                # The baseline's search finds other tasks, by parts of words.
                is_other = contender.name == "baseline" and "search" in path
                if not is_other and not _agree(answers[0], answer):
                    found.append(f"{contender.name} answers {path} of {world.people[place].name} differently")
    return found + [fault for contender in contenders for fault in _faults_of_writes(contender, world)]


def _answer(contender: Contender, place: int, path: str) -> list[dict[str, Any]]:
    """The tasks of an answer."""
    if path == "second page":
        path = second_page(contender, place)
    status, body = contender.client(place).send("GET", path)
    if status != 200:
        raise SystemExit(f"{contender.name} answers {path} with {status}: {body[:300]!r}")
    found = json.loads(body)
    return found.get("data", found.get("results", [found]))


def _agree(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    if len(some) != len(others):
        return False
    if others and "version" not in others[0]:
        return [*map(_in_common, some)] == [*map(_in_common, others)]
    return some == others


def _in_common(task: dict[str, Any]) -> list[Any]:
    return [*(task[name] for name in COMMON), (task["due_date"] or "")[:10], task["created_at"][:19]]


def _faults_of_writes(contender: Contender, world: World) -> Iterator[str]:
    """One entry in the log for each write, and the write itself to be read afterwards."""
    place, task = world.sample[0]
    client = contender.client(place)
    for method, path, body in (
        ("POST", "tasks/", {"title": "Water the plants", "priority": "high", "tags": ["home"]}),
        ("PATCH", f"tasks/{task}/", {"due_date": "2031-01-01T10:00:00.000Z", "priority": "urgent"}),
        ("PATCH", f"tasks/{task}/", {"due_date": "2031-01-02T10:00:00.000Z", "priority": "low"}),
    ):
        before = count(contender.url, f"SELECT count(*) FROM {contender.log}")
        status, answer = client.send(method, path, json.dumps(body).encode())
        entries = count(contender.url, f"SELECT count(*) FROM {contender.log}") - before
        if status not in (200, 201) or entries != 1:
            yield f"{contender.name}: {method} gives {status} and {entries} entries in the log: {answer[:200]!r}"
            continue
        read = json.loads(client.send("GET", f"tasks/{json.loads(answer)['id']}/")[1])
        shown = {**read, "due_date": (read["due_date"] or "")[:19]}
        wanted = body | ({"due_date": str(body["due_date"])[:19]} if "due_date" in body else {})
        if not wanted.items() <= {name: value for name, value in shown.items() if name in wanted}.items():
            yield f"{contender.name}: what {method} wrote is read as {read}"
