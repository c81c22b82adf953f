"""Quotas: how much one user may store. All numbers are here; decision 0036 says why.

The change log counts what is stored in the row that it writes anyway, and a constraint of the database holds the limit.
"""

from typing import NamedTuple

TASKS = 100_000
"""Tasks of one user, those in the trash too."""
CATEGORIES = 1_000
"""Categories of one user."""
ANONYMOUS_ENTRIES = 1_000
"""Entries of the log for people who have not signed in and have no account, for each web process and hour."""


class Stored(NamedTuple):
    """What an action of the change log adds to what its owner stores: so many of one kind."""

    kind: str
    by: int


LIMITS = {"tasks": TASKS, "categories": CATEGORIES}
COUNTED = {
    "task.created": Stored("tasks", 1),
    "task.purged": Stored("tasks", -1),
    "category.created": Stored("categories", 1),
    "category.deleted": Stored("categories", -1),
}
ADVICE = {
    "tasks": "Tasks in the trash count too: empty it with DELETE /api/v1/tasks/trash/?confirm=true.",
    "categories": "Delete some that you no longer use.",
}
"""What someone who has reached a quota can do."""
