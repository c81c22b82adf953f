"""Real workers and schedulers on the database of the test, and what they did."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django import conf
from django.db import connection

from duely.jobs.models import Job
from duely.jobs.queue import enqueue
from duely.jobs.registry import Definition
from jobs import sample
from programs import PATIENCE_SECONDS, environment, until

LAUNCHER = Path(__file__).parent / "launcher.py"
TIMES = {"LEASE": 2.0, "FIRST_RETRY": 0.5, "DRAIN_SECONDS": 1.0, "RECOVER_EVERY_SECONDS": 1.0}


class Program:
    """One process; its output, and that of what it starts, is in a file."""

    def __init__(self, number: int, directory: Path, arguments: list[str], **settings: str) -> None:
        self.out = directory / f"{arguments[0]}-{number}.out"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(LAUNCHER), *arguments],
                cwd=directory,
                env=environment(
                    settings.pop("DATABASE_URL", "") or database_url(),
                    DATA_DIR=str(directory),
                    SECRET_KEY=conf.settings.SECRET_KEY,
                    LOG_FORMAT="json",
                    **settings,
                ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def said(self, text: str) -> bool:
        """Whether its output has this text; fails when it has ended without."""
        ended = self.process.poll()
        has = text in self.out.read_text(errors="replace")
        assert has or ended is None, self.out.read_text(errors="replace")
        return has

    def stop(self, number: Signals = SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        """It and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, SIGKILL)
        self.process.wait()


class Rig:
    """Starts programs, queues sample jobs and counts what became of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.trace = directory / "trace"
        self.trace.touch()
        self._programs: list[Program] = []

    def start(self, *arguments: str, settings: dict[str, str] | None = None, **times: Any) -> Program:
        """`duely` or `celery` with these arguments and shorter times."""
        command = [json.dumps({**TIMES, **times}), *arguments]
        program = Program(len(self._programs), self.directory, command, **(settings or {}))
        self._programs.append(program)
        return program

    def worker(self, *arguments: str, **times: Any) -> Program:
        """A worker that is ready."""
        program = self.start("worker", *arguments, **times)
        until(lambda: program.said("worker started"))
        return program

    def queue(self, job: Definition, name: str, **ids: Any) -> UUID:
        job_id = enqueue(job, name=name, trace=str(self.trace), **ids)
        assert job_id is not None
        return job_id

    def begun(self, name: str) -> list[int]:
        """In which processes the job was begun, in order."""
        lines = [line.split() for line in self.trace.read_text().splitlines()]
        return [int(pid) for begun, pid, _ in lines if begun == name]

    def effects(self) -> Counter[str]:
        """How many effects of each name there are."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM effect")
            return Counter(name for (name,) in cursor.fetchall())

    def wait_for(self, *names: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Until each of these jobs has left its effect."""
        self._until(lambda: not set(names) - self.effects().keys(), seconds)

    def wait_for_begin(self, name: str, times: int = 1) -> None:
        self._until(lambda: len(self.begun(name)) >= times, PATIENCE_SECONDS)

    def wait_for_state(self, job_id: UUID, state: str) -> Job:
        self._until(lambda: Job.objects.get(pk=job_id).state == state, PATIENCE_SECONDS)
        return Job.objects.get(pk=job_id)

    def clean_up(self) -> None:
        for program in self._programs:
            program.kill()

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            until(condition, seconds=seconds)
        except AssertionError:
            for program in self._programs:
                print(program.out.name, program.process.poll(), program.out.read_text(errors="replace")[-5000:])
            raise


def make_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute(sample.TABLE)


def drop_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS effect")


def database_url() -> str:
    """The database of this test run, for other processes."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    return f"postgres://{settings['USER']}@/{settings['NAME']}?host={quote(settings['HOST'])}"


def seconds_since(moment: float) -> float:
    return time.monotonic() - moment
