"""What keeps Celery's processes from starting: the same as keeps `duely worker`, with the same sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from pgbouncer import MISSING, PROGRAM, pooling
from programs import PATIENCE_SECONDS, environment, free_port, run

pytestmark = pytest.mark.process
ROLES = [("worker", "--pool", "solo"), ("beat",)]
WRONG_USE, DATABASE = 2, 3


def celery(directory: Path, role: tuple[str, ...], url: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end. No broker is there: it has to end before it looks for one."""
    broker = f"redis://127.0.0.1:{free_port()}/0"
    return subprocess.run(
        [sys.executable, "-P", "-m", "celery", "-A", "duely", *role],
        cwd=directory,
        env=environment(url, CELERY_BROKER_URL=broker, DATA_DIR=str(directory)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def sentence(output: str) -> str:
    """The line that says why the process ended."""
    [line] = [line for line in output.splitlines() if line.startswith("duely: ")]
    return line


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role[0])
def test_celery_refuses_another_secret_key_as_a_worker_does(
    role: tuple[str, ...], tmp_path: Path, fresh_database_url: str
) -> None:
    # Without SECRET_KEY each directory gets a key of its own.
    first, other = tmp_path / "first", tmp_path / "other"
    first.mkdir()
    other.mkdir()
    assert run(first, "migrate", database_url=fresh_database_url, DATA_DIR=str(first)).returncode == 0

    refused = celery(other, role, fresh_database_url)
    worker = run(other, "worker", database_url=fresh_database_url, DATA_DIR=str(other))

    assert (refused.returncode, worker.returncode) == (WRONG_USE, WRONG_USE), refused.stderr
    assert sentence(refused.stderr) == sentence(worker.stderr)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a pooler of PostgreSQL's")
@pytest.mark.skipif(PROGRAM is None, reason=MISSING)
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role[0])
def test_celery_refuses_a_pooler_as_a_worker_does(
    role: tuple[str, ...], tmp_path: Path, fresh_database_url: str
) -> None:
    assert run(tmp_path, "migrate", database_url=fresh_database_url, DATA_DIR=str(tmp_path)).returncode == 0

    with pooling(fresh_database_url, "transaction") as url:
        refused = celery(tmp_path, role, url)
        worker = run(tmp_path, "worker", database_url=url, DATA_DIR=str(tmp_path))

    assert (refused.returncode, worker.returncode) == (DATABASE, DATABASE), refused.stderr
    assert sentence(refused.stderr) == sentence(worker.stderr)
