"""Bans as clients send and see them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from django.db.models import Q
from msgspec import UNSET, UnsetType

from duely.api.bodies import Invalid
from duely.api.filters import Filter, Order, flags
from duely.api.lists import Listing, Meta, Pagination
from duely.api.types import Instant, Parsed, instant_of, text_of
from duely.core.actor import Actor
from duely.core.clock import as_shown
from duely.guard import models, rules
from duely.guard.rules import BadNetwork


class Network(Parsed[rules.Network]):
    """An address or a network (CIDR)."""

    schema = {"type": "string", "maxLength": 49, "examples": ["203.0.113.7", "203.0.113.0/24", "2001:db8::/48"]}

    @classmethod
    def read(cls, raw: Any) -> rules.Network:
        """Check it."""
        if not isinstance(raw, str):
            raise Invalid("invalid_type", "Use a string.")
        try:
            return rules.parse_network(raw)
        except BadNetwork as fault:
            raise Invalid("invalid_network", str(fault)) from None


class Reason(Parsed[str]):
    """The reason of a ban. Only admins see it."""

    schema = {"type": "string", "maxLength": rules.MAX_REASON}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=rules.MAX_REASON)


class End(Parsed[datetime]):
    """When a ban ends."""

    schema = {"type": "string", "format": "date-time", "examples": ["2030-01-31T09:00:00Z"]}

    @classmethod
    def read(cls, raw: Any) -> datetime:
        """Check it."""
        return instant_of(raw, example="2030-01-31T09:00:00Z")


class BanIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new ban. It is permanent when `until` is missing or null."""

    examples: ClassVar[Mapping[str, Any]] = {
        "network_for_a_time": {"network": "203.0.113.0/24", "reason": "Spam", "until": "2098-01-31T09:00:00Z"},
        "address_for_good": {"network": "2001:db8::7"},
    }

    network: Network
    reason: Reason | UnsetType = UNSET
    until: End | UnsetType | None = UNSET


class BanPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of an active ban."""

    examples: ClassVar[Mapping[str, Any]] = {"for_good": {"until": None}, "reason": {"reason": "Spam"}}

    reason: Reason | UnsetType = UNSET
    until: End | UnsetType | None = UNSET


class BanPath(msgspec.Struct, frozen=True):
    """The id of the ban."""

    ban_id: UUID


class BanMaker(msgspec.Struct, frozen=True):
    """The admin who created the ban, with the name at that time."""

    id: UUID
    name: str


class Ban(msgspec.Struct, frozen=True):
    """A ban. `active` is true while it is in force. `created_by` is null for automatic bans."""

    id: UUID
    network: str
    reason: str
    until: Instant | None
    active: bool
    automatic: bool
    created_at: Instant
    created_by: BanMaker | None
    lifted_at: Instant | None


class BanPage(msgspec.Struct, frozen=True):
    """A page of bans."""

    data: list[Ban]
    pagination: Pagination
    meta: Meta


def show_ban(ban: models.Ban, now: datetime) -> Ban:
    """A ban as admins see it."""
    ban.active = ban.is_active(now)  # type: ignore[attr-defined]  # in lists the database computes this column
    return _show_row(as_shown(getattr(ban, name) for name in BANS.columns))


def _show_row(row: tuple[Any, ...]) -> Ban:
    id_, network, reason, until, active, automatic, created_at, created_by, created_by_name, lifted_at = row
    return Ban(
        id=id_,
        network=network,
        reason=reason,
        until=until,
        active=active,
        automatic=automatic,
        created_at=created_at,
        created_by=BanMaker(created_by, created_by_name) if created_by else None,
        lifted_at=lifted_at,
    )


def _network(raw: str, _actor: Actor) -> str:
    return str(Network.read(raw))


BANS = Listing(
    name="bans",
    item=Ban,
    columns=(
        "id",
        "network",
        "reason",
        "until",
        "active",
        "automatic",
        "created_at",
        "created_by",
        "created_by_name",
        "lifted_at",
    ),
    show=_show_row,
    filters=(
        flags("active", lambda value: Q(active=value), "Filters by whether the ban is in force."),
        flags("automatic", lambda value: Q(automatic=value), "Filters by whether the ban was created automatically."),
        Filter("network", "network", _network, {"type": "string", "examples": ["203.0.113.0/24"]}),
    ),
    orderings={"created_at": Order("created_at"), "until": Order("until", nullable=True)},
    default_order="-created_at",
)
