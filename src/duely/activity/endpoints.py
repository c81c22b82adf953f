"""The change log over HTTP."""

from typing import Annotated

from django.http import HttpResponse

from duely.activity.queries import visible_changes
from duely.activity.schemas import ACTIVITY, ActivityPage
from duely.api.lists import ListQuery
from duely.api.resource import Listed, Resource, operation


class ActivityLogs(Resource):
    """The log of every change, which nothing can alter."""

    tags = ("activity",)

    @operation(ActivityPage, name="listActivityLogs")
    def get(self, parsed_query: Annotated[ListQuery, Listed(ACTIVITY)]) -> HttpResponse:
        """List the changes of what is mine; admins see those of everyone."""
        return self.show(ACTIVITY.answer(visible_changes(self.actor), parsed_query))


ROUTES: list[tuple[str, type[Resource]]] = [("activity-logs/", ActivityLogs)]
