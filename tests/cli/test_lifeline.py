"""What a child is to its parent, in processes of their own: the one of the tests has threads, and must not fork."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

PROGRAM = """
import os, signal, threading, time
from duely.cli.exits import Exit, Failure, failures_as_sentences
from duely.cli.lifeline import run_in_child

def thread():
    threading.Thread(target=time.sleep, args=[0.01]).start()
    return os.getpid()

def refused():
    raise Failure("the disk is full.", Exit.DATABASE)

def broken():
    raise LookupError("nobody expected this")

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM + program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_ran_apart_gives_its_answer_and_leaves_nothing_behind() -> None:
    done = run(
        """
child = run_in_child(thread)
assert child != os.getpid()
assert len(os.listdir("/proc/self/task")) == 1
try:
    os.kill(child, 0)
except ProcessLookupError:
    print("gone")
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "gone\n", "")


def test_what_fails_apart_says_why_and_ends_its_parent_in_the_same_way() -> None:
    done = run("run_in_child(refused)\nprint('never')")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "duely: the disk is full.\n")


def test_a_fault_apart_has_its_traceback() -> None:
    done = run("run_in_child(broken)\nprint('never')")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.rstrip().endswith("LookupError: nobody expected this")


def test_what_is_killed_apart_is_told_of() -> None:
    done = run("with failures_as_sentences():\n    run_in_child(killed)\n    print('never')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "duely: killed was ended by signal 9.\n")


FORKS = """
import os, signal, sys, time
from duely.cli.lifeline import reset_signals_in_forks

reset_signals_in_forks()
signal.signal(signal.SIGTERM, lambda *_: print("in vain", flush=True))
for _ in range(30):
    if (child := os.fork()) == 0:
        time.sleep(20)
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_fork_that_is_told_to_stop_at_once_does() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "in vain\n", "")
