"""Tasks and categories."""

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models

from duely.tasks.rules import MAX_TITLE, PRIORITIES, Status
from duely.tasks.words import WORDS_FORMAT

if TYPE_CHECKING:
    AnyLookup = models.Lookup[Any]
else:
    AnyLookup = models.Lookup

LIVE = models.Q(deleted_at__isnull=True)
IN_TRASH = models.Q(deleted_at__isnull=False)
# Two comparisons and not IN: only so does SQLite see that a query with values fits the partial index.
OPEN_TASKS = (models.Q(status="pending") | models.Q(status="in_progress")) & LIVE
UNPASSED = models.Q(passed_at__isnull=True)
OUTDATED = models.Q(format__lt=WORDS_FORMAT)


class HasItem(AnyLookup):
    """`tag_keys__has_item="home"`: a JSON list of strings that holds this one."""

    lookup_name = "has_item"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """The value goes to the driver as it is."""
        return "%s", (value,)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """SQLite."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        sql = f"EXISTS (SELECT 1 FROM json_each({left}) AS item WHERE item.value = {right})"  # noqa: S608
        return sql, (*left_params, *right_params)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """PostgreSQL: containment of jsonb, which a GIN index serves."""
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} @> jsonb_build_array({right}::text)", (*left_params, *right_params)


class Owned:
    """What the change log asks of a row that someone owns."""

    id: UUID
    owner_id: UUID

    @property
    def change_id(self) -> UUID:
        """Its id in the change log."""
        return self.id

    @property
    def change_owner_id(self) -> UUID:
        """In whose log its changes stand."""
        return self.owner_id


class LiveCategories(models.Manager["Category"]):
    """Leaves out categories that are deleted and not yet empty."""

    def get_queryset(self) -> models.QuerySet["Category"]:
        """Only those that people see."""
        return super().get_queryset().filter(LIVE)


class Category(Owned, models.Model):
    """A named drawer for tasks. `name_key` is the name as it is compared.

    `deleted_at` is set while a job takes the tasks out of a deleted category, which nobody sees any more.
    """

    id = models.UUIDField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=100)
    name_key = models.CharField(max_length=300)
    color = models.CharField(max_length=7)
    position = models.IntegerField()
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    objects = LiveCategories()
    with_deleted = models.Manager["Category"]()

    owner_id: UUID
    change_type = "category"

    class Meta:
        db_table = "tasks_category"
        verbose_name_plural = "categories"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name_key"], name="tasks_category_name"),
            models.CheckConstraint(condition=~models.Q(name=""), name="tasks_category_name_given"),
        ]
        indexes: ClassVar = [models.Index(fields=["owner", "position", "id"], name="tasks_category_position")]

    def __str__(self) -> str:
        return self.name

    @property
    def change_label(self) -> str:
        """What the change log calls it."""
        return self.name


class Task(Owned, models.Model):
    """Something to do.

    `due_on` is set for a task that is due on a whole day; `due_at` places every due task on one time
    line (see `rules.placed`). `tag_keys` are the tags as they are compared. `deleted_at` is set
    for a task in the trash. `words_version` is the version whose text was indexed for the search by the code that wrote
    it: whatever writes a text without it is noticed by a trigger (see `StaleWords`).
    """

    id = models.UUIDField(primary_key=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    title = models.CharField(max_length=MAX_TITLE)
    description = models.TextField()
    status = models.CharField(max_length=12)
    former_status = models.CharField(max_length=12, null=True)
    completed_at = models.DateTimeField(null=True)
    priority = models.SmallIntegerField()
    due_on = models.DateField(null=True)
    due_at = models.DateTimeField(null=True)
    category = models.ForeignKey(Category, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    tags = models.JSONField()
    tag_keys = models.JSONField()
    reminders = models.JSONField()
    version = models.IntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)
    # Older releases and SQL by hand write no words; triggers compare this with the version (decision 0034).
    words_version = models.IntegerField(null=True)

    owner_id: UUID
    category_id: UUID | None
    change_type = "task"

    class Meta:
        db_table = "tasks_task"
        constraints: ClassVar = [
            models.CheckConstraint(condition=~models.Q(title=""), name="tasks_task_title_given"),
            models.CheckConstraint(
                condition=models.Q(status__in=[status.value for status in Status]), name="tasks_task_status"
            ),
            models.CheckConstraint(condition=models.Q(priority__in=sorted(PRIORITIES)), name="tasks_task_priority"),
            models.CheckConstraint(
                condition=models.Q(status="completed", completed_at__isnull=False)
                | (~models.Q(status="completed") & models.Q(completed_at__isnull=True)),
                name="tasks_task_completed_at",
            ),
            models.CheckConstraint(
                condition=models.Q(due_on__isnull=True) | models.Q(due_at__isnull=False), name="tasks_task_due"
            ),
        ]
        indexes: ClassVar = [
            # No index for each ordering: each one makes every write slower (decision 0022).
            models.Index(fields=["owner", "created_at", "id"], name="tasks_task_created", condition=LIVE),
            models.Index(fields=["owner", "due_at", "id"], name="tasks_task_due_at", condition=LIVE),
            models.Index(fields=["owner", "status", "due_at", "id"], name="tasks_task_status_due_at", condition=LIVE),
            models.Index(fields=["created_at", "id"], name="tasks_task_all_created", condition=LIVE),
            models.Index(fields=["category", "deleted_at"], name="tasks_task_in_category"),
            models.Index(fields=["due_at", "id"], name="tasks_task_open", condition=OPEN_TASKS),
            models.Index(fields=["owner", "deleted_at", "id"], name="tasks_task_own_trash", condition=IN_TRASH),
            models.Index(fields=["deleted_at", "id"], name="tasks_task_trash", condition=IN_TRASH),
            models.Index(
                fields=["owner", "due_on", "id"], name="tasks_task_by_day", condition=models.Q(due_on__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def change_label(self) -> str:
        """What the change log calls it."""
        return self.title


class Reminder(models.Model):
    """One entry of a task's `reminders` with the instant that it stands for.

    It follows the task: only actions that change the task, or its owner's time zone, move it. `passed_at` is set
    once it was sent or came to nothing.
    """

    id = models.UUIDField(primary_key=True)
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="+", db_index=False)
    owner_id = models.UUIDField()
    text = models.CharField(max_length=32)
    remind_at = models.DateTimeField()
    passed_at = models.DateTimeField(null=True)

    task_id: UUID

    class Meta:
        db_table = "tasks_reminder"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "text"], name="tasks_reminder_text"),
        ]
        indexes: ClassVar = [
            # With the owner at hand: many rows of a few owners are passed over without a look at each of them.
            models.Index(fields=["remind_at", "id", "owner_id"], name="tasks_reminder_by_time", condition=UNPASSED),
            models.Index(fields=["owner_id", "remind_at", "id"], name="tasks_reminder_of_owner", condition=UNPASSED),
        ]

    def __str__(self) -> str:
        return self.text


class WordsField(models.TextField):  # type: ignore[type-arg]
    """Words as they are indexed: a tsvector on PostgreSQL, on SQLite text that triggers hand on to FTS5."""

    def db_type(self, connection: Any) -> str:
        """The column's type."""
        return "tsvector" if connection.vendor == "postgresql" else "text"

    def deconstruct(self) -> Any:
        """For migrations plain text: that of the table changes the column itself."""
        name, _, positional, named = super().deconstruct()
        return name, "django.db.models.TextField", positional, named


class TaskWords(models.Model):
    """The words of a task that a search finds, in their places. They follow its title and description.

    Apart from the task, so that other edits do not touch their index. `scope` stands for the owner (`search.scope_of`),
    `format` for the code that made the words (`search.WORDS_FORMAT`).
    """

    id = models.BigAutoField(primary_key=True)
    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="+")
    scope = models.CharField(max_length=12)
    words = WordsField()
    # The release that added the column made words of format 1, and the one before it does not know the column.
    format = models.SmallIntegerField(db_default=1)

    class Meta:
        db_table = "tasks_words"
        indexes: ClassVar = [models.Index(fields=["task"], name="tasks_words_outdated", condition=OUTDATED)]

    def __str__(self) -> str:
        return str(self.id)


class StaleWords(models.Model):
    """A task whose text was written by code that did not index it: an older release, or SQL by hand.

    Triggers on the tasks add the rows, `actions.index_stale_words` takes them away. No foreign key: the release before
    deletes tasks without knowing of this table.
    """

    task_id = models.UUIDField(primary_key=True)

    class Meta:
        db_table = "tasks_stale_words"
        verbose_name_plural = "stale words"

    def __str__(self) -> str:
        return str(self.task_id)


models.JSONField.register_lookup(HasItem)
