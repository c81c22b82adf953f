"""Quotas: how much one user may store. All numbers are here; decision 0036 says why.

The change log counts tasks and categories in the row that it writes anyway, and a constraint of the database holds the
limit. Kept answers are counted by the statement that looks for a kept answer.
"""

from typing import NamedTuple

TASKS = 100_000
"""Tasks of one user, those in the trash too."""
CATEGORIES = 1_000
"""Categories of one user."""
KEPT_ANSWERS = 5_000
"""Answers of one user that are kept for retries with an `Idempotency-Key`, within their 24 hours."""
KEPT_ANSWER_BYTES = 32 * 1024 * 1024
"""Bytes of the stored bodies of these answers."""
ANONYMOUS_ENTRIES = 1_000
"""Entries of the log for people who have not signed in and have no account, for each web process and hour."""


class Stored(NamedTuple):
    """The number that an action of the change log adds to its owner's stored objects of one kind."""

    kind: str
    by: int


LIMITS = {"tasks": TASKS, "categories": CATEGORIES}
COUNTED = {
    "task.created": Stored("tasks", 1),
    "task.purged": Stored("tasks", -1),
    "category.created": Stored("categories", 1),
    "category.deleted": Stored("categories", -1),
}
_KEPT_FOR_A_DAY = (
    "Answers to requests with an Idempotency-Key are kept for 24 hours. This request was not executed:"
    " send it later, or without the key."
)
ADVICE = {
    "tasks": "Tasks in the trash count too: empty it with DELETE /api/v1/tasks/trash/?confirm=true.",
    "categories": "Delete categories that you no longer use.",
    "kept_answers": _KEPT_FOR_A_DAY,
    "kept_answer_bytes": _KEPT_FOR_A_DAY,
}
"""What a user who has reached a quota can do."""
