"""The commands of the guide that make a backup, run as they stand there, on a database that is in use."""

import os
import re
import shutil
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from programs import run, until

pytestmark = pytest.mark.process

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "running.md"
COMMANDS = re.findall(r"```sh\n(.*(?:VACUUM INTO|pg_dump).*)\n```", GUIDE.read_text())
ROWS = 20_000


def test_the_guide_has_the_commands() -> None:
    assert len(COMMANDS) == 3


def documented(beginning: str) -> str:
    (command,) = [command for command in COMMANDS if command.startswith(beginning)]
    if shutil.which(beginning) is None:
        pytest.skip(f"{beginning} is not installed")
    return command


class Writer(threading.Thread):
    """Writes one row after the other, as a busy Duely does."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.written = 0
        self.ends = threading.Event()
        self._path = path

    def run(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as database:
            while not self.ends.is_set():
                database.execute("INSERT INTO filler (text) VALUES (?)", ("x" * 500,))
                self.written += 1


@pytest.mark.parametrize("program", ["sqlite3", "python3"])
def test_a_backup_of_sqlite_ends_while_others_write(tmp_path: Path, program: str) -> None:
    command = documented(program)
    path = tmp_path / "data" / "duely.sqlite3"
    assert run(tmp_path, "migrate", database_url=f"sqlite:///{path}").returncode == 0
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE filler (text TEXT)")
        database.executemany("INSERT INTO filler VALUES (?)", (("y" * 500,) for _ in range(ROWS)))
    writer = Writer(path)
    writer.start()
    try:
        until(lambda: writer.written > 20)
        before = writer.written
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, timeout=60)
        until(lambda: writer.written > before + 20)
    finally:
        writer.ends.set()
        writer.join()

    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (rows,) = copy.execute("SELECT count(*) FROM filler").fetchone()
    assert ROWS + before <= rows <= ROWS + writer.written
    done = run(tmp_path, "migrate", database_url=f"sqlite:///{tmp_path}/copy.sqlite3")
    assert done.stdout == "The database is up to date.\n"


def test_a_backup_of_postgresql_can_be_restored(tmp_path: Path, fresh_database_url: str) -> None:
    command = documented("pg_dump")
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone")
    version = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    with psycopg.connect(fresh_database_url) as server:
        if int(re.findall(r"(\d+)\.", version)[0]) < server.info.server_version // 10_000:
            pytest.skip("pg_dump is older than the server")
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0

    subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        check=True,
        timeout=60,
        env={**os.environ, "DATABASE_URL": fresh_database_url},
    )

    listed = subprocess.run(
        ["pg_restore", "--list", "copy.dump"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "TABLE DATA public tasks_task" in listed.stdout
