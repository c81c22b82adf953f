"""What people do with tasks and categories, and what the clock does to them."""

from duely.tasks.actions.categories import (
    create_category,
    delete_category,
    replace_category,
    take_some_out,
    update_category,
)
from duely.tasks.actions.imports import import_categories, import_tasks
from duely.tasks.actions.many import (
    Asked,
    BulkRefused,
    Operation,
    Outcome,
    change_tasks,
    delete_all_tasks,
)
from duely.tasks.actions.sweeps import (
    SWEEP,
    count_stored,
    empty_trash,
    index_stale_words,
    mark_overdue,
    pass_reminders,
    pass_reminders_of,
    purge_trash,
)
from duely.tasks.actions.tasks import (
    NotInTrash,
    create_task,
    delete_task,
    replace_task,
    restore_task,
    update_task,
)
from duely.tasks.actions.zones import Progress, move_some_days, move_whole_days

__all__ = [
    "SWEEP",
    "Asked",
    "BulkRefused",
    "NotInTrash",
    "Operation",
    "Outcome",
    "Progress",
    "change_tasks",
    "count_stored",
    "create_category",
    "create_task",
    "delete_all_tasks",
    "delete_category",
    "delete_task",
    "empty_trash",
    "import_categories",
    "import_tasks",
    "index_stale_words",
    "mark_overdue",
    "move_some_days",
    "move_whole_days",
    "pass_reminders",
    "pass_reminders_of",
    "purge_trash",
    "replace_category",
    "replace_task",
    "restore_task",
    "take_some_out",
    "update_category",
    "update_task",
]
