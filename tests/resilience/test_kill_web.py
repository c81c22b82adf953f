"""Keeps the command of the resilience figures alive: a few kills in each run of the suite."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 5
SECONDS = 150


@pytest.mark.process
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the web processes in /proc")
def test_no_acknowledged_write_is_lost_when_web_processes_are_killed() -> None:
    command = [
        *(sys.executable, "-m", "tests.resilience.kill_web", "--kills", str(KILLS), "--writers", "4"),
        *("--database", os.environ.get("DUELY_TEST_DATABASE", "sqlite")),
    ]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            # SIGTERM: the command then ends the service and the database that it started.
            process.terminate()
            output, errors = process.communicate()
    assert process.returncode == 0, f"{output}\n{errors}"
    figures = json.loads(output.splitlines()[-1])
    assert figures["kills"] == KILLS
    assert figures["writes acknowledged"] > 0
    assert figures["clean"]
