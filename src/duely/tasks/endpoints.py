"""Tasks and categories over HTTP."""

from typing import Annotated

from django.http import HttpResponse

from duely.api.lists import ListQuery
from duely.api.resource import Body, Listed, Path, Resource, operation
from duely.api.types import given
from duely.core.clock import now
from duely.core.errors import AlreadyExists, Forbidden, NotFound
from duely.tasks import actions, models, schemas
from duely.tasks.access import category_for, task_for
from duely.tasks.queries import visible_categories, visible_tasks

TAGGED = {"ETag": "Made of the version."}
CREATED = {**TAGGED, "Location": "The path of what was made."}
REFUSES = (NotFound,)


def etag(row: models.Task | models.Category) -> dict[str, str]:
    """The strong entity tag of a row (RFC 9110 section 8.8.3)."""
    return {"ETag": f'"{row.version}"'}


class Tasks(Resource):
    """Tasks: mine, or for an admin everyone's."""

    tags = ("tasks",)

    @operation(schemas.TaskPage, name="listTasks")
    def get(self, parsed_query: Annotated[ListQuery, Listed(schemas.TASKS)]) -> HttpResponse:
        """List tasks, without those in the trash."""
        return self.show(schemas.TASKS.answer(visible_tasks(self.actor), parsed_query))

    @operation(schemas.Task, name="createTask", status=201, refuses=(Forbidden, AlreadyExists), headers=CREATED)
    def post(self, parsed_body: Body[schemas.TaskIn]) -> HttpResponse:
        """Make a task."""
        task = actions.create_task(actor=self.actor, fields=given(parsed_body), now=now())
        return self.show(schemas.task_of(task), 201, headers={**etag(task), "Location": f"/api/v1/tasks/{task.id}/"})


class OneTask(Resource):
    """One task."""

    tags = ("tasks",)

    @operation(schemas.Task, name="getTask", refuses=REFUSES, headers=TAGGED)
    def get(self, parsed_path: Path[schemas.TaskPath]) -> HttpResponse:
        """Read a task."""
        task = task_for(self.actor, parsed_path.task_id)
        return self.show(schemas.task_of(task), headers=etag(task))

    @operation(schemas.Task, name="replaceTask", refuses=REFUSES, headers=TAGGED)
    def put(self, parsed_path: Path[schemas.TaskPath], parsed_body: Body[schemas.TaskPut]) -> HttpResponse:
        """Replace a task's writable fields; what is missing takes its default."""
        task = actions.replace_task(actor=self.actor, task_id=parsed_path.task_id, fields=given(parsed_body), now=now())
        return self.show(schemas.task_of(task), headers=etag(task))

    @operation(schemas.Task, name="updateTask", refuses=REFUSES, headers=TAGGED)
    def patch(self, parsed_path: Path[schemas.TaskPath], parsed_body: Body[schemas.TaskPatch]) -> HttpResponse:
        """Change the fields that the body holds."""
        task = actions.update_task(actor=self.actor, task_id=parsed_path.task_id, fields=given(parsed_body), now=now())
        return self.show(schemas.task_of(task), headers=etag(task))

    @operation(None, name="deleteTask", status=204, refuses=REFUSES)
    def delete(self, parsed_path: Path[schemas.TaskPath]) -> HttpResponse:
        """Move a task to the trash."""
        actions.delete_task(actor=self.actor, task_id=parsed_path.task_id, now=now())
        return self.nothing()


class Categories(Resource):
    """Categories: mine, or for an admin everyone's."""

    tags = ("categories",)

    @operation(schemas.CategoryPage, name="listCategories")
    def get(self, parsed_query: Annotated[ListQuery, Listed(schemas.CATEGORIES)]) -> HttpResponse:
        """List categories with their task counts."""
        return self.show(schemas.CATEGORIES.answer(visible_categories(self.actor), parsed_query))

    @operation(schemas.Category, name="createCategory", status=201, refuses=(AlreadyExists,), headers=CREATED)
    def post(self, parsed_body: Body[schemas.NewCategory]) -> HttpResponse:
        """Make a category."""
        category = actions.create_category(actor=self.actor, fields=given(parsed_body), now=now())
        place = {**etag(category), "Location": f"/api/v1/categories/{category.id}/"}
        return self.show(schemas.category_of(category), 201, headers=place)


class OneCategory(Resource):
    """One category."""

    tags = ("categories",)

    @operation(schemas.Category, name="getCategory", refuses=REFUSES, headers=TAGGED)
    def get(self, parsed_path: Path[schemas.CategoryPath]) -> HttpResponse:
        """Read a category."""
        category = category_for(self.actor, parsed_path.category_id)
        return self.show(schemas.category_of(category), headers=etag(category))

    @operation(schemas.Category, name="replaceCategory", refuses=(*REFUSES, AlreadyExists), headers=TAGGED)
    def put(self, parsed_path: Path[schemas.CategoryPath], parsed_body: Body[schemas.CategoryIn]) -> HttpResponse:
        """Replace a category's writable fields; what is missing takes its default."""
        category = actions.replace_category(
            actor=self.actor, category_id=parsed_path.category_id, fields=given(parsed_body), now=now()
        )
        return self.show(schemas.category_of(category), headers=etag(category))

    @operation(schemas.Category, name="updateCategory", refuses=(*REFUSES, AlreadyExists), headers=TAGGED)
    def patch(self, parsed_path: Path[schemas.CategoryPath], parsed_body: Body[schemas.CategoryPatch]) -> HttpResponse:
        """Change the fields that the body holds."""
        category = actions.update_category(
            actor=self.actor, category_id=parsed_path.category_id, fields=given(parsed_body), now=now()
        )
        return self.show(schemas.category_of(category), headers=etag(category))

    @operation(None, name="deleteCategory", status=204, refuses=REFUSES)
    def delete(self, parsed_path: Path[schemas.CategoryPath]) -> HttpResponse:
        """Remove a category; its tasks stay, without one."""
        actions.delete_category(actor=self.actor, category_id=parsed_path.category_id, now=now())
        return self.nothing()


ROUTES: list[tuple[str, type[Resource]]] = [
    ("tasks/", Tasks),
    ("tasks/<id:task_id>/", OneTask),
    ("categories/", Categories),
    ("categories/<id:category_id>/", OneCategory),
]
