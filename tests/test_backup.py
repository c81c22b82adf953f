"""The commands of the guide that make a backup, run as they stand there, on a database that is in use."""

import os
import re
import shutil
import sqlite3
import stat
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
BLOCKS = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = {
    program: block for block in BLOCKS for program in ("sqlite3", "python3", "pg_dump") if f"  {program} " in block
}
ROWS = 20_000


def test_the_guide_has_the_commands() -> None:
    assert len(COMMANDS) == 3


def make_backup(program: str, folder: Path, **settings: str) -> Path:
    """Run the command of the guide in the folder of an instance. Returns the only file that it makes."""
    home, before = folder / "home", set(folder.rglob("*"))
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), **settings}
    subprocess.run(COMMANDS[program], shell=True, cwd=folder, env=environment, check=True, timeout=60)

    copies = home / "duely-backups"
    new = {path for path in folder.rglob("*") if not path.name.startswith("duely.sqlite3-")} - before
    (copy,) = new - {home, copies}
    assert copy.parent == copies
    assert [stat.S_IMODE(path.stat().st_mode) for path in (copies, copy)] == [0o700, 0o600]
    return copy


def skip_without(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


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
    skip_without(program)
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
        made = make_backup(program, tmp_path)
        until(lambda: writer.written > before + 20)
    finally:
        writer.ends.set()
        writer.join()

    with closing(sqlite3.connect(made)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (rows,) = copy.execute("SELECT count(*) FROM filler").fetchone()
    assert ROWS + before <= rows <= ROWS + writer.written
    done = run(tmp_path, "migrate", database_url=f"sqlite:///{made}")
    assert done.stdout == "The database is up to date.\n"


def test_a_backup_of_postgresql_can_be_restored(tmp_path: Path, fresh_database_url: str) -> None:
    skip_without("pg_dump")
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone")
    version = subprocess.run(["pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    with psycopg.connect(fresh_database_url) as server:
        if int(re.findall(r"(\d+)\.", version)[0]) < server.info.server_version // 10_000:
            pytest.skip("pg_dump is older than the server")
    assert run(tmp_path, "migrate", database_url=fresh_database_url).returncode == 0

    made = make_backup("pg_dump", tmp_path, DATABASE_URL=fresh_database_url)

    listed = subprocess.run(["pg_restore", "--list", str(made)], capture_output=True, text=True, check=True)
    assert "TABLE DATA public tasks_task" in listed.stdout
