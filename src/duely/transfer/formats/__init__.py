"""The kinds of files that can be imported. A new one is a module beside this, and a line in FORMATS."""

from duely.transfer.formats import (
    duely,
    google_tasks,
    microsoft_todo,
    super_productivity,
    table,
    ticktick,
    todoist,
    trello,
    vikunja,
)
from duely.transfer.formats.base import Format

FORMATS: tuple[Format, ...] = (
    duely.FORMAT,
    todoist.FORMAT,
    vikunja.FORMAT,
    ticktick.FORMAT,
    trello.FORMAT,
    google_tasks.FORMAT,
    microsoft_todo.FORMAT,
    super_productivity.FORMAT,
    table.FORMAT,
)
"""The first one that recognises a file reads it: that of any table is the last."""
