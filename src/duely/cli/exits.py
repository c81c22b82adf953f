"""Exit codes, and expected failures as one sentence instead of a traceback."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command; docs/reference/cli.md explains them."""

    OK = 0
    FAILED = 1
    WRONG_USE = 2
    DATABASE = 3


REFUSED_BY_THE_SYSTEM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
DAMAGED = frozenset({"SQLITE_NOTADB", "SQLITE_CORRUPT"})


class Failure(Exception):
    """An expected failure: its text is printed and the command ends with `code`."""

    def __init__(self, sentence: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def failures_as_sentences() -> Iterator[None]:
    """A context in which errors that an operator can fix end the process with a sentence, not with a traceback."""
    try:
        yield
    except Failure as failure:
        _end(str(failure), failure.code)
    except Exception as error:
        expected = _sentence_and_code(error)
        if expected is None:
            raise
        _end(*expected)


def _sentence_and_code(error: Exception) -> tuple[str, Exit] | None:
    from django.core.exceptions import ImproperlyConfigured

    if isinstance(error, ImproperlyConfigured):
        return str(error), Exit.WRONG_USE
    if isinstance(error, BrokenPipeError):
        # The reader of our output has closed the pipe. Python would write to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "", Exit.FAILED
    if isinstance(error, OSError) and error.errno in REFUSED_BY_THE_SYSTEM:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}. Duely needs room, and the right to write, in DATA_DIR.", Exit.FAILED
    if "django.db" not in sys.modules:
        return None
    from django.db import InterfaceError, OperationalError, ProgrammingError

    if getattr(error.__cause__, "sqlite_errorname", None) in DAMAGED:
        sentence = f"The file of the database cannot be used: {_first_line(error)}. "
        return sentence + "Name another one with DATABASE_URL, or bring back a backup.", Exit.DATABASE
    if isinstance(error, ProgrammingError | OperationalError) and _lacks_a_table(error):
        return "The database is not up to date. Run: duely migrate", Exit.DATABASE
    if isinstance(error, OperationalError | InterfaceError):
        return f"The database cannot be used: {_first_line(error)}. Check DATABASE_URL; `duely doctor` says more.", (
            Exit.DATABASE
        )
    return None


def _lacks_a_table(error: Exception) -> bool:
    is_postgres = getattr(error.__cause__, "sqlstate", None) == "42P01"
    return is_postgres or str(error).startswith("no such table")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _end(sentence: str, code: Exit) -> None:
    if sentence:
        print(f"duely: {sentence}", file=sys.stderr)
    raise SystemExit(int(code))
