"""Keeps the commands that disturb the queue alive: a short run of each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 150
COMMANDS = {
    "kill_worker": ("--kills", "2", "--lease", "2"),
    "schedulers": ("--kills", "2", "--down", "3"),
    "drain": ("--rounds", "1", "--drain", "1"),
    "poison": ("--poisons", "1", "--others", "5", "--lease", "2"),
    "zombie": ("--jobs", "20", "--rounds", "1", "--lease", "2"),
}


@pytest.mark.process
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_happens_to_processes_each_job_is_done_once(name: str) -> None:
    command = [sys.executable, "-m", f"tests.resilience.{name}", *COMMANDS[name]]
    command += ["--database", os.environ.get("DUELY_TEST_DATABASE", "sqlite")]
    root = Path(__file__).parent.parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            # SIGTERM: the command then ends what it started.
            process.terminate()
            output, errors = process.communicate()
    assert process.returncode == 0, f"{output}\n{errors}"
    figures = json.loads(output.splitlines()[-1])
    assert figures["doubled"] == 0
    assert figures["clean"]
