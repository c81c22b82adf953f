"""How a web process stops."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from duely.cli.stopping import refuse_new_connections
from duely.config import service

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter of a socket is Linux's")


@only_linux
def test_connections_that_were_made_are_accepted_and_no_new_ones_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as early:
            early.sendall(b"sent before it was accepted")

            assert refuse_new_connections(port)

            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", port), timeout=0.3)
            server, _ = listening.accept()
            with server:
                assert server.recv(100) == b"sent before it was accepted"
                server.sendall(b"answered")
                assert early.recv(100) == b"answered"


@only_linux
def test_other_sockets_are_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as other:
        assert refuse_new_connections(listening.getsockname()[1])
        socket.create_connection(other.getsockname(), timeout=20).close()
        assert not refuse_new_connections(1)


PROGRAM = """
import sys, threading, time
from duely.cli.stopping import drain_then_stop
from duely.core import drain
from duely.core.drain import Stage
ended = threading.Event()
stops = []
def stop():
    stops.append(drain.stage())
    print(f"stopped in stage {drain.stage():d}", flush=True)
    ended.set()
drain_then_stop(stop, port=1, max_seconds=float(sys.argv[1]))
print("ready", flush=True)
threading.Thread(target=lambda: sys.stdin.readline() and drain.enter(Stage.FINISHING), daemon=True).start()
ended.wait()
time.sleep(0.5)
print("stops", len(stops), flush=True)
"""


def start(max_seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(max_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.process
def test_a_process_that_is_told_many_times_stops_once_after_the_drain() -> None:
    process = start(60)
    for _ in range(20):
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate("the drain is over\n", timeout=60)
    assert output == "stopped in stage 2\nstops 1\n"
    assert process.returncode == 0


@pytest.mark.process
def test_a_process_whose_parent_says_nothing_stops_by_itself() -> None:
    process = start(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output == "stopped in stage 1\nstops 1\n"


@pytest.fixture
def nothing_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MADE_IN_CONTAINERS", ())
    monkeypatch.setattr(os, "isatty", lambda descriptor: False)


@pytest.mark.usefixtures("nothing_around")
def test_a_process_that_nothing_manages_stops_at_once() -> None:
    assert service.drain_seconds({"PATH": "/bin", "container": ""}) == 0


@pytest.mark.usefixtures("nothing_around")
@pytest.mark.parametrize("name", service.SET_BY_MANAGERS)
def test_a_managed_process_gives_the_proxy_three_seconds(name: str) -> None:
    assert service.drain_seconds({name: "1"}) == 3


@pytest.mark.usefixtures("nothing_around")
def test_a_container_is_known_by_the_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MADE_IN_CONTAINERS", (tmp_path / ".dockerenv",))
    assert service.drain_seconds({}) == 0
    (tmp_path / ".dockerenv").touch()
    assert service.drain_seconds({}) == 3


@pytest.mark.usefixtures("nothing_around")
def test_nobody_waits_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: descriptor == 1)
    assert service.drain_seconds({"INVOCATION_ID": "1"}) == 0
