"""What a busy instance must withstand: rows that are locked, connections that are killed."""

import json
import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPException

import psycopg
from contenders import Contender
from data import World
from service import Client
from workload import BY_DUE
from wrk import Request

LOCKED_SECONDS = 2.0
REST_SECONDS = 3.0
STALLS = 5
READERS = 8
PAUSE_SECONDS = 0.02
KILLS, EACH = 6, 10


def stall(contender: Contender, world: World) -> tuple[float, int]:
    """While two PATCHes wait for a locked row: the longest GET of others in milliseconds, and how many there were.

    Tried several times, with new connections: whether both PATCHes meet the same worker process is chance.
    """
    time.sleep(REST_SECONDS)  # until what wrk has left behind is answered: it may be PATCHes of the same task
    taken = [milliseconds for _ in range(STALLS) for milliseconds in _reads_beside_a_lock(contender, world)]
    return max(taken), len(taken)


def _reads_beside_a_lock(contender: Contender, world: World) -> list[float]:
    """Milliseconds of each GET; without end for one that failed.

    Who gives up waiting is followed by the next one, so that two wait all the time. Each reader pauses between two
    requests: what is measured is waiting, not load.
    """
    place, task = world.sample[0]
    end = threading.Event()
    taken: list[float] = []

    def patch(number: int) -> None:
        body = json.dumps({"priority": "high", "due_date": f"2031-02-0{number + 1}T00:00:00Z"}).encode()
        client = contender.client(place)
        while not end.is_set():
            status_of(client, "PATCH", f"tasks/{task}/", body)

    def read(number: int) -> None:
        client = contender.client((place + 1 + number) % len(world.people))
        while not end.is_set():
            begun = time.perf_counter()
            status = status_of(client, "GET", "tasks/")
            taken.append((time.perf_counter() - begun) * 1000 if status == 200 else float("inf"))
            time.sleep(PAUSE_SECONDS)

    threads = [threading.Thread(target=patch, args=[number]) for number in range(2)]
    readers = [threading.Thread(target=read, args=[number]) for number in range(READERS)]
    with psycopg.connect(contender.url) as locker:
        locker.execute("SELECT 1 FROM tasks_task WHERE id = %s FOR UPDATE", [task])
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # until they wait
        for thread in readers:
            thread.start()
        time.sleep(LOCKED_SECONDS)
        locker.rollback()
    end.set()
    for thread in [*threads, *readers]:
        thread.join()
    return taken


def status_of(client: Client, method: str, path: str, body: bytes | None = None) -> int:
    """The status of an answer; 0 when none comes within the ten seconds of a client."""
    try:
        return client.send(method, path, body)[0]
    except (OSError, HTTPException):
        client.connection.close()
        return 0


def killed(contender: Contender, world: World) -> tuple[list[str], int]:
    """Those requests that fail, when all connections to the database are killed before every ten of them.

    As `PATCH 503`; 0 stands for no answer. The second number says how many requests there were.
    """
    chance = random.Random(3)
    makers: list[Callable[[int, object], Request]] = [
        lambda place, _: Request("GET", "tasks/", contender.tokens[place]),
        lambda place, _: Request("GET", BY_DUE, contender.tokens[place]),
        lambda place, task: Request("GET", f"tasks/{task}/", contender.tokens[place]),
        lambda place, _: Request("POST", "tasks/", contender.tokens[place], '{"title": "After all"}'),
        lambda place, task: Request("PATCH", f"tasks/{task}/", contender.tokens[place], '{"title": "Still there"}'),
    ]
    failed: list[str] = []

    def ask(request: Request, place: int) -> None:
        status = status_of(contender.client(place), request.method, request.path, request.body.encode() or None)
        if not 200 <= status < 300:
            failed.append(f"{request.method} {status}")

    for _ in range(KILLS):
        with psycopg.connect(contender.url, autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        threads = []
        for number in range(EACH):
            place, task = chance.choice(world.sample)
            request = makers[number % len(makers)](place, task)
            threads.append(threading.Thread(target=ask, args=[request, place]))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.2)
    return failed, KILLS * EACH
