"""Tasks and categories over HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse

from duely.api.components import Body, Listed, Options, Path
from duely.api.lists import ListQuery
from duely.api.operations import operation
from duely.api.problems import problem_of
from duely.api.resource import Resource
from duely.api.types import given
from duely.api.versions import LISTED, EditConflict, Expected, VersionConflict, etag, expected
from duely.core.clock import now
from duely.core.errors import AlreadyExists, NotFound, PageTooLarge, QuotaExceeded, Refused, ValidationFailed
from duely.tasks import actions, lists, models, schemas
from duely.tasks.access import category_for, task_for
from duely.tasks.bulk.schemas import (
    Bulk,
    BulkResult,
    BulkResults,
    CreateOperation,
    DeleteOperation,
    Operation,
    UpdateOperation,
)
from duely.tasks.categories.lists import CATEGORIES
from duely.tasks.categories.queries import visible_categories
from duely.tasks.categories.schemas import (
    Category,
    CategoryPage,
    CategoryPatch,
    CategoryPath,
    CategoryPut,
    NewCategory,
    category_of,
)
from duely.tasks.queries import visible_tasks, visible_trash
from duely.tasks.quick.queries import understood
from duely.tasks.quick.schemas import QuickPreview, QuickTask, checked_title, show_preview
from duely.tasks.rules import Verb
from duely.tasks.stats.queries import own_stats
from duely.tasks.stats.schemas import Stats, show_stats

TAGGED = {"ETag": "The version of the object, as an entity tag."}
CREATED = {**TAGGED, "Location": "The path of the new object."}
REFUSES = (NotFound,)
STALE = (VersionConflict, EditConflict)


def tagged(row: models.Task | models.Category) -> dict[str, str]:
    """The header with the entity tag of a row."""
    return {"ETag": etag(row)}


def edit_of(request: HttpRequest, body: msgspec.Struct) -> dict[str, Any]:
    """The `fields` that a body changes, and what the request is `expected` to find."""
    fields = given(body)
    return {"expected": expected(request, fields), "fields": fields}


@contextmanager
def showing_current(show: Callable[[Any], msgspec.Struct]) -> Iterator[None]:
    """Put the thing as it is into the refusal of a stale write."""
    try:
        yield
    except (VersionConflict, EditConflict) as refused:
        refused.extra["current"] = show(refused.row)
        raise


def operation_of(each: Operation | ValidationFailed) -> actions.Asked:
    """One of many operations as actions know it."""
    match each:
        case CreateOperation():
            return actions.Operation(Verb.CREATE, fields=given(each))
        case UpdateOperation():
            fields = given(each)
            return actions.Operation(Verb.UPDATE, fields.pop("id"), fields, Expected(None, fields.pop("version", None)))
        case DeleteOperation():
            return actions.Operation(Verb.DELETE, each.id)
    return each


STATUSES = {Verb.CREATE: 201, Verb.UPDATE: 200, Verb.DELETE: 204}


def result_of(outcome: actions.Outcome, request: HttpRequest) -> BulkResult:
    """What came of one of many operations."""
    if isinstance(outcome, EditConflict):
        outcome.extra["current"] = schemas.task_of(outcome.row)
    if isinstance(outcome, Refused):
        return BulkResult(outcome.status, problem_of(outcome, request))
    is_deleted = outcome.verb is Verb.DELETE
    return BulkResult(STATUSES[outcome.verb], None if is_deleted else schemas.task_of(outcome.task))


def made(resource: Resource, task: models.Task) -> HttpResponse:
    """The answer that has a new task."""
    place = {**tagged(task), "Location": f"/api/v1/tasks/{task.id}/"}
    return resource.show(schemas.task_of(task), 201, headers=place)


class Tasks(Resource):
    """Your tasks. Admins see the tasks of all users."""

    tags = ("tasks",)

    @operation(schemas.TaskPage, name="listTasks", refuses=(PageTooLarge,), optional_headers=LISTED, conditional=True)
    def get(self, parsed_query: Annotated[ListQuery, Listed(lists.TASKS)]) -> HttpResponse:
        """List tasks, except those in the trash."""
        return self.listed(lists.TASKS, visible_tasks(self.actor), parsed_query)

    @operation(schemas.Task, name="createTask", status=201, refuses=(AlreadyExists, QuotaExceeded), headers=CREATED)
    def post(self, parsed_body: Body[schemas.TaskIn]) -> HttpResponse:
        """Create a task."""
        return made(self, actions.create_task(actor=self.actor, fields=given(parsed_body), now=now()))

    @operation(schemas.Deleted, name="deleteAllTasks")
    def delete(self, parsed_options: Options[schemas.Confirmation]) -> HttpResponse:
        """Move all your own tasks to the trash."""
        return self.show(schemas.Deleted(*actions.delete_all_tasks(actor=self.actor, now=now())))


class BulkTasks(Resource):
    """Many operations in one request."""

    tags = ("tasks",)

    @operation(BulkResults, name="changeTasks", refuses=(actions.BulkRefused, QuotaExceeded))
    def post(self, parsed_body: Body[Bulk]) -> HttpResponse:
        """Create, change and delete up to 100 tasks in one request.

        Operations are executed in order. By default each one has its own result, and a refused one does not affect the
        others. With `atomic` all are executed or none.
        """
        asked = [operation_of(each) for each in parsed_body.operations.value]
        together = parsed_body.atomic  # allow: edge_transaction because it is the name of a field
        try:
            done = actions.change_tasks(actor=self.actor, asked=asked, atomic=together, now=now())
        except actions.BulkRefused as refused:
            refused.extra["results"] = [result_of(outcome, self.request) for outcome in refused.outcomes]
            raise
        return self.show(BulkResults([result_of(outcome, self.request) for outcome in done]))


class QuickTasks(Resource):
    """Tasks from one line of text."""

    tags = ("tasks",)

    @operation(
        schemas.Task,
        name="createQuickTask",
        status=201,
        refuses=(QuotaExceeded,),
        headers=CREATED,
        also={200: QuickPreview},
    )
    def post(self, parsed_body: Body[QuickTask]) -> HttpResponse:
        """Create a task from one line of text.

        `Pay rent tomorrow 9am #home @bank !high` sets due date, category, tag and priority. Words that are not certain
        stay in the title. With `preview` no task is created: the answer (200) shows what was recognized.
        """
        at, text = now(), parsed_body.text.value
        found = understood(self.actor, text, at)
        if parsed_body.preview:
            return self.show(show_preview(text, found))
        return made(self, actions.create_task(actor=self.actor, fields=checked_title(found.fields), now=at))


class Trash(Resource):
    """The trash. It keeps deleted tasks for 30 days."""

    tags = ("tasks",)

    @operation(schemas.TaskPage, name="listTrash", refuses=(PageTooLarge,), optional_headers=LISTED, conditional=True)
    def get(self, parsed_query: Annotated[ListQuery, Listed(lists.TRASH)]) -> HttpResponse:
        """List the tasks in the trash, most recently deleted first."""
        return self.listed(lists.TRASH, visible_trash(self.actor), parsed_query)

    @operation(schemas.Purged, name="emptyTrash")
    def delete(self, parsed_options: Options[schemas.Confirmation]) -> HttpResponse:
        """Delete your own tasks in the trash permanently."""
        return self.show(schemas.Purged(*actions.empty_trash(actor=self.actor, now=now())))


class TaskStats(Resource):
    """Task statistics."""

    tags = ("tasks",)

    @operation(Stats, name="getTaskStats")
    def get(self) -> HttpResponse:
        """Count your own tasks."""
        return self.show(show_stats(own_stats(self.actor, now())))


class Restored(Resource):
    """Restoring a task."""

    tags = ("tasks",)

    @operation(schemas.Task, name="restoreTask", refuses=(*REFUSES, actions.NotInTrash), headers=TAGGED)
    def post(self, parsed_path: Path[schemas.TaskPath]) -> HttpResponse:
        """Restore a task from the trash, unchanged."""
        task = actions.restore_task(actor=self.actor, task_id=parsed_path.task_id, now=now())
        return self.show(schemas.task_of(task), headers=tagged(task))


class OneTask(Resource):
    """One task."""

    tags = ("tasks",)

    @operation(schemas.Task, name="getTask", refuses=REFUSES, headers=TAGGED, conditional=True)
    def get(self, parsed_path: Path[schemas.TaskPath]) -> HttpResponse:
        """Get a task."""
        task = schemas.show_task(task_for(self.actor, parsed_path.task_id))
        return self.tagged(lambda: task, etag(task))

    @operation(schemas.Task, name="replaceTask", refuses=(*REFUSES, *STALE), headers=TAGGED)
    def put(self, parsed_path: Path[schemas.TaskPath], parsed_body: Body[schemas.TaskPut]) -> HttpResponse:
        """Replace all writable fields of a task. Missing fields get their defaults."""
        edit = edit_of(self.request, parsed_body)
        with showing_current(schemas.task_of):
            task = actions.replace_task(actor=self.actor, task_id=parsed_path.task_id, **edit, now=now())
        return self.show(schemas.task_of(task), headers=tagged(task))

    @operation(schemas.Task, name="updateTask", refuses=(*REFUSES, *STALE), headers=TAGGED)
    def patch(self, parsed_path: Path[schemas.TaskPath], parsed_body: Body[schemas.TaskPatch]) -> HttpResponse:
        """Change some fields of a task."""
        edit = edit_of(self.request, parsed_body)
        with showing_current(schemas.task_of):
            task = actions.update_task(actor=self.actor, task_id=parsed_path.task_id, **edit, now=now())
        return self.show(schemas.task_of(task), headers=tagged(task))

    @operation(None, name="deleteTask", status=204, refuses=(*REFUSES, VersionConflict))
    def delete(self, parsed_path: Path[schemas.TaskPath]) -> HttpResponse:
        """Move a task to the trash."""
        with showing_current(schemas.task_of):
            basis = expected(self.request)
            actions.delete_task(actor=self.actor, task_id=parsed_path.task_id, expected=basis, now=now())
        return self.nothing()


class Categories(Resource):
    """Your categories. Admins see the categories of all users."""

    tags = ("categories",)

    @operation(CategoryPage, name="listCategories", optional_headers=LISTED, conditional=True)
    def get(self, parsed_query: Annotated[ListQuery, Listed(CATEGORIES)]) -> HttpResponse:
        """List categories with their numbers of tasks."""
        return self.listed(CATEGORIES, visible_categories(self.actor), parsed_query)

    @operation(Category, name="createCategory", status=201, refuses=(AlreadyExists, QuotaExceeded), headers=CREATED)
    def post(self, parsed_body: Body[NewCategory]) -> HttpResponse:
        """Create a category."""
        category = actions.create_category(actor=self.actor, fields=given(parsed_body), now=now())
        place = {**tagged(category), "Location": f"/api/v1/categories/{category.id}/"}
        return self.show(category_of(category), 201, headers=place)


class OneCategory(Resource):
    """One category."""

    tags = ("categories",)

    @operation(Category, name="getCategory", refuses=REFUSES, headers=TAGGED)
    def get(self, parsed_path: Path[CategoryPath]) -> HttpResponse:
        """Get a category."""
        # Not conditional: its `task_count` changes without its version.
        category = category_for(self.actor, parsed_path.category_id)
        return self.show(category_of(category), headers=tagged(category))

    @operation(Category, name="replaceCategory", refuses=(*REFUSES, *STALE, AlreadyExists), headers=TAGGED)
    def put(self, parsed_path: Path[CategoryPath], parsed_body: Body[CategoryPut]) -> HttpResponse:
        """Replace all writable fields of a category. Missing fields get their defaults."""
        edit = edit_of(self.request, parsed_body)
        with showing_current(category_of):
            category = actions.replace_category(
                actor=self.actor, category_id=parsed_path.category_id, **edit, now=now()
            )
        return self.show(category_of(category), headers=tagged(category))

    @operation(Category, name="updateCategory", refuses=(*REFUSES, *STALE, AlreadyExists), headers=TAGGED)
    def patch(self, parsed_path: Path[CategoryPath], parsed_body: Body[CategoryPatch]) -> HttpResponse:
        """Change some fields of a category."""
        edit = edit_of(self.request, parsed_body)
        with showing_current(category_of):
            category = actions.update_category(actor=self.actor, category_id=parsed_path.category_id, **edit, now=now())
        return self.show(category_of(category), headers=tagged(category))

    @operation(None, name="deleteCategory", status=204, refuses=(*REFUSES, VersionConflict))
    def delete(self, parsed_path: Path[CategoryPath]) -> HttpResponse:
        """Delete a category. Its tasks stay, without a category."""
        with showing_current(category_of):
            basis = expected(self.request)
            actions.delete_category(actor=self.actor, category_id=parsed_path.category_id, expected=basis, now=now())
        return self.nothing()


ROUTES: list[tuple[str, type[Resource]]] = [
    ("tasks/", Tasks),
    ("tasks/bulk/", BulkTasks),
    ("tasks/quick/", QuickTasks),
    ("tasks/trash/", Trash),
    ("tasks/stats/", TaskStats),
    ("tasks/<id:task_id>/", OneTask),
    ("tasks/<id:task_id>/restore/", Restored),
    ("categories/", Categories),
    ("categories/<id:category_id>/", OneCategory),
]
