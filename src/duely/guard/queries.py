"""Reads of bans."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change, Counter
from duely.core.actor import Actor
from duely.core.permissions import Permission, allows
from duely.guard.models import Ban, InstalledKey
from duely.guard.rules import REMEMBERED, Network


def _standing(now: datetime) -> Q:
    return Q(lifted_at__isnull=True) & (Q(until__isnull=True) | Q(until__gt=now))


def visible_bans(actor: Actor) -> QuerySet[Ban]:
    """Every ban there has been lately, for those who may manage bans; nothing for anyone else."""
    return Ban.objects.all() if allows(actor.role, Permission.BAN_MANAGE) else Ban.objects.none()


def listed_bans(actor: Actor, now: datetime) -> QuerySet[Any]:
    """The same with `active`: whether each stands."""
    return visible_bans(actor).annotate(active=ExpressionWrapper(_standing(now), output_field=BooleanField()))


def standing_bans(now: datetime) -> QuerySet[Ban]:
    """Those that keep someone out."""
    return Ban.objects.filter(_standing(now))


def ends_of(networks: Collection[str], now: datetime) -> dict[tuple[str, bool], datetime | None]:
    """When the bans of these networks end, by network and whether the ban is automatic."""
    rows = standing_bans(now).filter(network__in=networks).values_list("network", "automatic", "until")
    return {(network, is_automatic): until for network, is_automatic, until in rows}


def lock_network(network: Network) -> None:
    """Let one transaction at a time ban it. Whether a ban stands hangs on the clock, which no unique index knows.

    SQLite has one writer at a time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"ban {network}"])


def earlier_automatic(network: str, now: datetime) -> int:
    """How often it was banned automatically of late, without an admin who thought better of it."""
    recent = Ban.objects.filter(network=network, created_at__gt=now - REMEMBERED)
    return recent.filter(automatic=True, lifted_at__isnull=True).count()


def installed_key() -> str | None:
    """The fingerprint of the key that the database belongs to."""
    return InstalledKey.objects.values_list("fingerprint", flat=True).first()


def last_change() -> int:
    """The number of the last entry in the system's log, where every change of a ban stands.

    The counter is locked until its transaction ends: who has seen a number finds every entry up to it, whatever the
    clocks say and however long the others take.
    """
    return Counter.objects.filter(owner_id=SYSTEM_LOG).values_list("seq", flat=True).first() or 0


def changed_networks(after: int, upto: int) -> set[str]:
    """The networks of bans that changed with the entries behind `after`."""
    entries = Change.objects.filter(owner_id=SYSTEM_LOG, seq__gt=after, seq__lte=upto, target_type=Ban.change_type)
    return set(entries.values_list("target_label", flat=True))
