"""A database that is filled once, and copies of it."""

import os
import shutil
import uuid
from contextlib import ExitStack
from pathlib import Path

import data
import postgres


class Databases:
    """A database that was filled once, and copies of it. All are gone afterwards.

    kept: the prefix of the names of copies that stay; others are the only ones of theirs.
    """

    def __init__(self, kind: str, folder: Path, stack: ExitStack, kept: str = "") -> None:
        self.folder, self.is_kept = folder, bool(kept)
        self.server = stack.enter_context(postgres.running()) if kind == "postgres" else None
        self.prefix = kept or f"duely_bench_{uuid.uuid4().hex[:8]}"
        self.pid = self.server.pid if self.server else None
        self.source = self.url("source")
        if self.server:
            self.drop("source")
            self.server.run(f"CREATE DATABASE {self.prefix}_source")
            stack.callback(self.drop, "source")
        else:
            self._file("source").unlink(missing_ok=True)
        self.stack = stack

    def url(self, name: str) -> str:
        """The address of a copy."""
        return self.server.url(f"{self.prefix}_{name}") if self.server else f"sqlite:///{self._file(name)}"

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.sqlite3"

    def copy(self, name: str) -> str:
        """Make a copy; returns its address."""
        if self.server:
            self.drop(name)
            self.server.run(f"CREATE DATABASE {self.prefix}_{name} TEMPLATE {self.prefix}_source STRATEGY FILE_COPY")
            if not self.is_kept:
                self.stack.callback(self.drop, name)
        else:
            shutil.copy(self._file("source"), self._file(name))
            # Else the first checkpoint of what is measured would write all of it to the disk.
            with self._file(name).open("rb") as file:
                os.fsync(file.fileno())
        return self.url(name)

    def has(self, name: str) -> bool:
        """Whether an earlier run has left this copy."""
        if not self.server:
            return self._file(name).exists()
        found = data.rows(
            self.server.url("postgres"), "SELECT FROM pg_database WHERE datname = %s", f"{self.prefix}_{name}"
        )
        return bool(found)

    def rename(self, name: str, new: str) -> None:
        """Call a copy otherwise."""
        if self.server:
            self.server.run(f"ALTER DATABASE {self.prefix}_{name} RENAME TO {self.prefix}_{new}")
            if not self.is_kept:
                self.stack.callback(self.drop, new)
        else:
            self._file(name).rename(self._file(new))

    def drop(self, name: str) -> None:
        """Remove a copy."""
        assert self.server
        self.server.run(f"DROP DATABASE IF EXISTS {self.prefix}_{name} WITH (FORCE)")
