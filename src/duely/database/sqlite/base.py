"""The connection, whose transactions begin when it is their turn (`line`)."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from duely.database.sqlite.writer_queue import SOON_SECONDS, Line, Turn, line_of

django: Any = base
"""Its type hints leave out what is to be changed here."""

WRITING = frozenset({"IMMEDIATE", "EXCLUSIVE"})
"""Modes of transactions that lock the file when they begin."""
NO_FILE = (":memory:", "file:")


class DatabaseWrapper(django.DatabaseWrapper):  # type: ignore[misc]
    """A connection of one thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: Line | None = None
        self._turn: Turn | None = None
        self._seconds = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """As Django does. A database in memory has no line."""
        path = str(conn_params["database"])
        has_line = self.transaction_mode in WRITING and not path.startswith(NO_FILE)
        self._line = line_of(path) if has_line else None
        self._seconds = conn_params.get("timeout", 5.0)
        return super().get_new_connection(conn_params)

    def prepared_cursor(self, *, as_text: bool = False) -> Any:
        """A cursor for statements of fixed text, as any: the driver keeps what it has prepared by the text.

        as_text: makes no difference here. Instants are read by the driver, and have no time zone.
        """
        return self.cursor()

    def prepared_rows(self, sql: str, params: Sequence[Any], *, as_text: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a statement of fixed text, past Django's cursors, which log and wrap what they execute."""
        self.ensure_connection()
        with self.wrap_database_errors:
            rows: list[tuple[Any, ...]] = self.connection.execute(_with_question_marks(sql), params).fetchall()
            return rows

    def _start_transaction_under_autocommit(self) -> None:
        """BEGIN, in one's turn. To wait for that and for others than Duely takes no longer than either may."""
        if self._line is None or self._turn is not None:
            super()._start_transaction_under_autocommit()
            return
        begun = time.monotonic()
        try:
            # SQLite's own lock goes to the writer that tries at the right moment, not to the first (decision 0023).
            self._turn = self._line.enter(self._seconds)
        except TimeoutError:
            raise OperationalError("database is locked") from None
        try:
            self._begin(time.monotonic() - begun)
        except BaseException:
            self._end_turn()
            raise

    def _begin(self, waited: float) -> None:
        if waited < SOON_SECONDS:
            super()._start_transaction_under_autocommit()
            return
        self._be_patient(self._seconds - waited)
        try:
            super()._start_transaction_under_autocommit()
        finally:
            self._be_patient(self._seconds)

    def _be_patient(self, seconds: float) -> None:
        """How long SQLite waits for a lock."""
        self.connection.execute(f"PRAGMA busy_timeout = {max(int(seconds * 1000), 0)}")

    def _commit(self) -> None:
        try:
            super()._commit()
        finally:
            self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._leave()

    def _end_turn(self) -> None:
        """Let others write, unless the transaction goes on because it could not be ended."""
        if self._turn is not None and not self.connection.in_transaction:
            self._leave()

    def _leave(self) -> None:
        turn, self._turn = self._turn, None
        if self._line is not None and turn is not None:
            self._line.leave(turn)


@lru_cache(maxsize=512)
def _with_question_marks(sql: str) -> str:
    """A statement as SQLite has it. Django makes that anew each time, by a regular expression."""
    return str(django.FORMAT_QMARK_REGEX.sub("?", sql)).replace("%%", "%")
