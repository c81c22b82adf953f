"""Each web process has a core, where there are as many of one as of the other."""

import os
import signal
import sys
from pathlib import Path

import pytest

from programs import Server, children, run, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")


def cores_of(pid: int) -> set[int]:
    """Of all threads of a process; none when it has just ended."""
    try:
        return {core for task in Path(f"/proc/{pid}/task").iterdir() for core in os.sched_getaffinity(int(task.name))}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def each_has_one_of(every: set[int], server: Server) -> bool:
    return sorted(sorted(cores_of(pid)) for pid in children(server.pid)) == [[core] for core in sorted(every)]


def web(directory: Path, database_url: str, processes: int) -> Server:
    assert run(directory, "migrate", database_url=database_url).returncode == 0
    server = Server(directory, "web", database_url=database_url, WEB_CONCURRENCY=str(processes))
    server.wait_until_it_answers()
    until(lambda: len(children(server.pid)) == processes)
    return server


@pytest.mark.slow
def test_each_has_its_own_also_one_that_comes_for_one_that_died(tmp_path: Path, fresh_database_url: str) -> None:
    every = os.sched_getaffinity(0)
    server = web(tmp_path, fresh_database_url, len(every))
    try:
        until(lambda: each_has_one_of(every, server))
        worker = children(server.pid)[0]
        os.kill(worker, signal.SIGKILL)
        until(lambda: worker not in children(server.pid) and each_has_one_of(every, server))
        assert cores_of(server.pid) == every
    finally:
        server.stop()


@pytest.mark.slow
def test_where_there_are_more_or_less_they_go_where_they_like(tmp_path: Path, fresh_database_url: str) -> None:
    every = os.sched_getaffinity(0)
    server = web(tmp_path, fresh_database_url, len(every) + 1)
    try:
        assert [cores_of(pid) for pid in children(server.pid)] == [every] * (len(every) + 1)
    finally:
        server.stop()
