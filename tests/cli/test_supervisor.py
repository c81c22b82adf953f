"""The supervisor runs in a process of its own, over tiny children, and is spoken to by signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from programs import alive, until

pytestmark = pytest.mark.process

PROGRAM = """
import sys
from pathlib import Path
from duely.cli.supervisor import ChildCannotStart, Command, Supervisor

script, directory, ready, drain, wait = sys.argv[1:]
sys.argv[1:] = [directory]
supervisor = Supervisor(
    [Command("child", lambda: exec(script, {}), ready=lambda: Path(directory, ready).exists())],
    on_ready=lambda: Path(directory, "announced").open("a").write("announced\\n"),
    drain_seconds=float(drain),
    wait_seconds=float(wait),
)
try:
    supervisor.run()
except ChildCannotStart as error:
    print(error)
    sys.exit(1)
"""
# Every child notes its process id; then it does what the test wants.
NOTE = """
import os, signal, sys, time
from pathlib import Path
Path(sys.argv[1], "pids").open("a").write(f"{os.getpid()}\\n")
"""
SLEEP = NOTE + "time.sleep(60)"
DIE = NOTE + "sys.exit(7)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + NOTE + "time.sleep(60)"
TWICE = (
    NOTE
    + """
told = []
def note(*_):
    told.append(1)
    Path(sys.argv[1], f"told {len(told)}").touch()
    if len(told) == 2:
        sys.exit(0)
signal.signal(signal.SIGTERM, note)
Path(sys.argv[1], "prepared").touch()
while True:
    time.sleep(60)
"""
)
FINISHING = (
    NOTE
    + """
def finish(*_):
    time.sleep(0.5)
    Path(sys.argv[1], "finished").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
Path(sys.argv[1], "prepared").touch()
time.sleep(60)
"""
)
PARENT = (
    NOTE
    + """
if os.fork() == 0:
    Path(sys.argv[1], "grandchild").write_text(str(os.getpid()))
time.sleep(60)
"""
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def supervise(script: str, *, ready: str = "pids", drain: float = 20, wait: float = 0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, script, str(tmp_path), ready, str(drain), str(wait)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield supervise
    for process in processes:
        process.kill()
    for pid in pids(tmp_path):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # with what it started, which holds the pipe open
    for process in processes:
        process.communicate()


def pids(directory: Path) -> list[int]:
    file = directory / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_a_killed_child_is_started_again_soon(start: Start, tmp_path: Path) -> None:
    start(SLEEP)
    for count in (1, 2, 3):
        until(lambda wanted=count: len(pids(tmp_path)) == wanted)
        until((tmp_path / "announced").exists)
        time.sleep(0.2)
        os.kill(pids(tmp_path)[-1], signal.SIGKILL)
    until(lambda: len(pids(tmp_path)) == 4, seconds=10)
    assert (tmp_path / "announced").read_text() == "announced\n"


def test_a_child_that_never_gets_ready_ends_the_supervisor_with_a_reason(start: Start, tmp_path: Path) -> None:
    process = start(DIE, ready="never")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "child could not start 5 times in a row; the last one ended by exit code 7." in output
    assert len(pids(tmp_path)) == 5


def test_a_child_that_dies_young_but_ready_is_never_given_up(start: Start, tmp_path: Path) -> None:
    process = start(NOTE + "time.sleep(0.3); sys.exit(7)")
    until(lambda: len(pids(tmp_path)) >= 6)
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_children_that_finish(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start(FINISHING)
    until((tmp_path / "prepared").exists)
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    assert (tmp_path / "finished").exists()
    assert not alive(pids(tmp_path)[0])


def test_a_child_that_does_not_finish_in_time_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(STUBBORN, drain=0.5)
    until(lambda: pids(tmp_path))
    began = time.monotonic()
    process.terminate()
    assert process.wait(timeout=20) == 0
    assert time.monotonic() - began < 5
    assert not alive(pids(tmp_path)[0])


def test_a_second_stop_does_not_wait(start: Start, tmp_path: Path) -> None:
    process = start(STUBBORN, drain=60)
    until(lambda: pids(tmp_path))
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    assert not alive(pids(tmp_path)[0])


def test_a_closed_terminal_is_ignored(start: Start, tmp_path: Path) -> None:
    process = start(SLEEP)
    until(lambda: pids(tmp_path))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None


def test_what_a_killed_child_leaves_behind_is_ended(start: Start, tmp_path: Path) -> None:
    start(PARENT)
    file = tmp_path / "grandchild"
    until(lambda: file.exists() and file.read_text())
    until((tmp_path / "announced").exists)
    grandchild = int(file.read_text())
    assert alive(grandchild)
    os.kill(pids(tmp_path)[0], signal.SIGKILL)
    until(lambda: not alive(grandchild))


def test_a_child_has_none_of_the_supervisors_handlers(start: Start, tmp_path: Path) -> None:
    """It would swallow what is meant for it, and tell the supervisor to stop."""
    start(
        NOTE
        + """
kept = signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD)
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
Path(sys.argv[1], "kept").write_text(str((kept, blocked)))
time.sleep(60)
"""
    )
    file = tmp_path / "kept"
    until(lambda: file.exists() and file.read_text())
    assert file.read_text() == str(((-1, signal.SIG_DFL, signal.SIG_DFL), set()))


def test_a_child_has_a_name_and_a_group_of_its_own(start: Start, tmp_path: Path) -> None:
    start(SLEEP)
    until(lambda: pids(tmp_path))
    (pid,) = pids(tmp_path)
    assert os.getpgid(pid) == pid
    assert Path(f"/proc/{pid}/comm").read_text() == "duely child\n"


def test_a_second_stop_while_children_wait_is_passed_on(start: Start, tmp_path: Path) -> None:
    process = start(TWICE, drain=60, wait=60)
    until((tmp_path / "prepared").exists)
    process.terminate()
    until((tmp_path / "told 1").exists)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=20) == 0
    assert (tmp_path / "told 2").exists()
