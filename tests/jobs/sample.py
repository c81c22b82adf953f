"""Jobs for the processes of tests, and the traces they leave.

A line in the file `trace` says that a job was begun, whatever became of it. A row of the table `effect` is written with
the end of the job: there must be one of each.
"""

import os
import time
from datetime import timedelta
from pathlib import Path

from duely.jobs.queue import Running
from duely.jobs.registry import job

TABLE = "CREATE TABLE effect (name varchar(200) NOT NULL, pid integer NOT NULL)"


@job("sample.note", attempts=20)
def note(running: Running, name: str, trace: str, seconds: float = 0.0) -> None:
    """Take that long, then leave the effect."""
    begin(trace, name)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    running.finish(lambda: leave(name))


@job("sample.crash", attempts=3)
def crash(running: Running, name: str, trace: str) -> None:
    """Take the worker along."""
    begin(trace, name)
    os._exit(9)


@job("sample.endless", attempts=2, timeout_seconds=1)
def endless(running: Running, name: str, trace: str) -> None:
    """Never end."""
    begin(trace, name)
    while True:
        pass


@job("sample.tick", every=timedelta(seconds=1))
def tick(running: Running) -> None:
    """Leave an effect each time."""
    running.finish(lambda: leave("tick"))


def begin(trace: str, name: str) -> None:
    """Append one line, whole whoever else appends."""
    with Path(trace).open("ab", buffering=0) as file:
        file.write(f"{name} {os.getpid()} {time.monotonic()}\n".encode())


def leave(name: str) -> None:
    """In the transaction that is open."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO effect (name, pid) VALUES (%s, %s)", [name, os.getpid()])
