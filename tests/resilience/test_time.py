"""Keeps the commands for mail and for late tasks alive: a short run of each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECONDS = 180

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(SECONDS + 60),
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc"),
]


def test_no_reminder_is_lost_when_the_worker_is_killed() -> None:
    figures = run("kill_mail", "--kills", "2", "--short", "--rate", "10")
    assert figures["kills"] == 2
    assert figures["arrived"] > 0
    assert figures["lost"] == figures["doubled, others"] == figures["jobs dead"] == 0


def test_every_reminder_arrives_after_the_mail_server_was_in_trouble_and_550_is_taken_for_an_answer() -> None:
    figures = run("smtp", "--lasting", "1", "--only", "refused", "drop after DATA")
    assert figures["arrived"] > 0
    assert figures["lost"] == figures["doubled, others"] == figures["jobs dead"] == 0
    assert figures["550 answers"] == figures["refused for good"] > 0


def test_every_late_task_is_marked_once_while_people_read() -> None:
    figures = run("sweep", "--tasks", "5000", "--late", "1200", "--before", "1", "--short")
    assert figures["marked"] == figures["in the log"] == 1200
    assert figures["errors"] == 0


def run(command: str, *arguments: str) -> dict[str, Any]:
    """The figures of one run that ended well."""
    database = os.environ.get("DUELY_TEST_DATABASE", "sqlite")
    whole = [sys.executable, "-m", f"tests.resilience.{command}", "--database", database, *arguments]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(whole, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            # SIGTERM: the command then ends what it started.
            process.terminate()
            output, errors = process.communicate()
    assert process.returncode == 0, f"{output}\n{errors}"
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert figures["clean"]
    return figures
