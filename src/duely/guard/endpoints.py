"""The API's operations on bans, for admins."""

from typing import Annotated

from django.http import HttpResponse

from duely.api.components import Body, Listed, Path
from duely.api.lists import ListQuery
from duely.api.operations import operation
from duely.api.resource import Resource
from duely.api.types import given
from duely.core import clock
from duely.core.errors import AlreadyExists, NotFound
from duely.guard import actions
from duely.guard.access import ban_for, require_management
from duely.guard.queries import listed_bans
from duely.guard.schemas import BANS, Ban, BanIn, BanPage, BanPatch, BanPath, show_ban


class Bans(Resource):
    """Banned addresses and networks."""

    tags = ("bans",)

    @operation(BanPage, name="listBans")
    def get(self, parsed_query: Annotated[ListQuery, Listed(BANS)]) -> HttpResponse:
        """List bans, including those that have ended. For admins."""
        require_management(self.actor)
        return self.show(BANS.answer(listed_bans(self.actor, clock.now()), parsed_query))

    @operation(
        Ban,
        name="createBan",
        status=201,
        refuses=[AlreadyExists],
        headers={"Location": "The path of the new object."},
    )
    def post(self, parsed_body: Body[BanIn]) -> HttpResponse:
        """Ban an address or a network. All servers enforce the ban within a second. For admins."""
        now = clock.now()
        ban = actions.ban_address(actor=self.actor, **given(parsed_body), now=now)
        return self.show(show_ban(ban, now), 201, headers={"Location": f"/api/v1/bans/{ban.id}/"})


class OneBan(Resource):
    """One ban."""

    tags = ("bans",)

    @operation(Ban, name="getBan", refuses=[NotFound], asks_permission=False)
    def get(self, parsed_path: Path[BanPath]) -> HttpResponse:
        """Get a ban. For admins."""
        return self.show(show_ban(ban_for(self.actor, parsed_path.ban_id), clock.now()))

    @operation(Ban, name="updateBan", refuses=[NotFound, actions.BanIsOver], asks_permission=False)
    def patch(self, parsed_path: Path[BanPath], parsed_body: Body[BanPatch]) -> HttpResponse:
        """Change the reason or the end of an active ban. For admins."""
        now = clock.now()
        ban = actions.change_ban(actor=self.actor, ban_id=parsed_path.ban_id, fields=given(parsed_body), now=now)
        return self.show(show_ban(ban, now))

    @operation(None, name="liftBan", status=204, refuses=[NotFound], asks_permission=False)
    def delete(self, parsed_path: Path[BanPath]) -> HttpResponse:
        """Lift a ban. It stays in the list. A ban that has ended is not changed. For admins."""
        actions.lift_ban(actor=self.actor, ban_id=parsed_path.ban_id, now=clock.now())
        return self.nothing()


ROUTES: list[tuple[str, type[Resource]]] = [("bans/", Bans), ("bans/<id:ban_id>/", OneBan)]
