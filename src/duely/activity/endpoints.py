"""The API's operation on the change log."""

from typing import Annotated

from django.http import HttpResponse

from duely.activity.queries import visible_changes
from duely.activity.schemas import ACTIVITY, ActivityPage
from duely.api.components import Listed
from duely.api.lists import ListQuery
from duely.api.operations import operation
from duely.api.resource import Resource
from duely.api.versions import LISTED
from duely.core.errors import PageTooLarge


class ActivityLogs(Resource):
    """The log of all changes. It cannot be altered."""

    tags = ("activity",)

    @operation(
        ActivityPage, name="listActivityLogs", refuses=(PageTooLarge,), optional_headers=LISTED, conditional=True
    )
    def get(self, parsed_query: Annotated[ListQuery, Listed(ACTIVITY)]) -> HttpResponse:
        """List changes of your objects. Admins see the changes of all users."""
        return self.listed(ACTIVITY, visible_changes(self.actor), parsed_query)


ROUTES: list[tuple[str, type[Resource]]] = [("activity-logs/", ActivityLogs)]
