"""`duely health`: what container managers run every few seconds."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from duely.core.heartbeat import BEAT_SECONDS, OLDEST_BEAT_SECONDS, Heart, beat_file
from programs import DUELY, environment, run

pytestmark = pytest.mark.process
URL = "sqlite:///none"


@contextmanager
def answering(raw: bytes) -> Iterator[int]:
    """A port where each client gets this and no more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                request = connection.recv(1000)
                assert b"Host: localhost" in request
                if raw:
                    connection.sendall(raw)
                else:
                    connection.recv(1)  # until the client gives up

        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(20)


def health(directory: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return run(directory, "health", *arguments, database_url=URL, **settings)


def test_it_is_well_when_the_server_says_so(tmp_path: Path) -> None:
    with answering(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status": "ok"}') as port:
        done = health(tmp_path, PORT=str(port), HOST="0.0.0.0")
    assert (done.returncode, done.stdout) == (0, '{"status": "ok"}\n')


def test_it_is_not_ready_when_the_server_says_so(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    with answering(b'HTTP/1.1 503 Unavailable\r\n\r\n{"status": "unavailable"}') as port:
        (tmp_path / ".env").write_text(f"PORT={port}\n")
        done = health(tmp_path, "--ready")
    assert (done.returncode, done.stderr) == (1, '{"status": "unavailable"}\n')


@pytest.mark.parametrize("raw", [b"", b"\x16\x03\x01", b"200 OK"], ids=["silent", "tls", "no head"])
def test_it_is_not_well_without_a_proper_answer(tmp_path: Path, raw: bytes) -> None:
    with answering(raw) as port:
        assert health(tmp_path, PORT=str(port)).returncode == 1


def test_it_is_not_well_when_nobody_listens(tmp_path: Path) -> None:
    done = health(tmp_path, PORT="1")
    assert done.returncode == 1
    assert "127.0.0.1:1 does not answer" in done.stderr


@pytest.mark.parametrize("arguments", [("mail",), ("web", "worker"), ("worker", "--ready"), ("--now",)])
def test_it_says_how_it_is_used(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = health(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: duely health")


def test_a_dotenv_file_that_makes_no_sense_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("just words\n")
    done = health(tmp_path)
    assert (done.returncode, "line 1" in done.stderr) == (2, True)


def test_it_loads_neither_django_nor_the_command_line(tmp_path: Path) -> None:
    program = "import sys\nsys.argv[1:] = ['health']\nfrom duely.cli.start import main\ntry:\n    main()\nexcept SystemExit:\n    print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(URL, PORT="1"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    assert not {name for name in loaded if name in {"django", "typer", "click", "rich", "structlog", "msgspec", "http"}}
    assert "duely" in loaded


@pytest.mark.parametrize("name", ["worker", "scheduler"])
def test_a_loop_is_well_while_its_heart_beats(tmp_path: Path, name: str) -> None:
    missing = health(tmp_path, name, DATA_DIR=str(tmp_path / "kept"))
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"no {name} runs with this DATA_DIR: ")
    assert ("`duely health worker`" in missing.stderr) is (name == "scheduler")

    Heart(tmp_path / "kept", name).beat()
    well = health(tmp_path, name, DATA_DIR=str(tmp_path / "kept"))
    assert well.returncode == 0
    assert re.fullmatch(rf"{name}: last sign of life \d+ s ago, within the limit of 20 s\n", well.stdout)

    old = time.time() - OLDEST_BEAT_SECONDS - 1000
    os.utime(beat_file(tmp_path / "kept", name), (old, old))
    late = health(tmp_path, name, DATA_DIR=str(tmp_path / "kept"))
    assert late.returncode == 1
    assert re.match(rf"{name}: last sign of life 1\d{{3}} s ago, more than the limit of 20 s \(", late.stderr)


def test_a_heart_beats_every_few_seconds_and_says_once_that_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = Heart(tmp_path, "worker")
    assert heart.beat()
    beat_file(tmp_path, "worker").unlink()
    assert heart.beat()
    assert not beat_file(tmp_path, "worker").exists()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + BEAT_SECONDS + 1)
    assert heart.beat()
    assert beat_file(tmp_path, "worker").exists()

    (tmp_path / "file").touch()
    lost = Heart(tmp_path / "file", "worker")
    assert [lost.beat(), lost.beat()] == [False, True]
    assert lost.fault is not None


def test_a_scheduler_beats(tmp_path: Path, fresh_database_url: str) -> None:
    from programs import until

    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0
    for name in ("scheduler", "worker"):
        with subprocess.Popen(
            [*DUELY, name], cwd=tmp_path, env=environment(fresh_database_url, DATA_DIR=str(tmp_path / "data")),
            stdout=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            try:
                until(beat_file(tmp_path / "data", name).exists)
            finally:
                process.terminate()
                process.wait(60)
