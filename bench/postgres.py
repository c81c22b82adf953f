"""A PostgreSQL server to measure on: the tests' binaries with the settings of a small real server."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import postgres_server

# What is not here is as PostgreSQL has it: fsync, synchronous_commit, full_page_writes and autovacuum are on.
SETTINGS = ("shared_buffers=256MB", "effective_cache_size=1GB", "max_wal_size=2GB", "random_page_cost=1.1")


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
    process, address = postgres_server.start(SETTINGS)
    try:
        server = Postgres(address, None)
        with psycopg.connect(server.url("postgres")) as connection:
            (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        yield replace(server, pid=int(Path(folder, "postmaster.pid").read_text().split()[0]))
    finally:
        postgres_server.stop(process)
