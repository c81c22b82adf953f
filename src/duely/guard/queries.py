"""Reads of bans."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from duely.activity.actions import SYSTEM_LOG
from duely.activity.queries import counters_of, log_of
from duely.core.actor import Actor
from duely.core.permissions import Permission, allows
from duely.guard.models import Ban, InstalledKey
from duely.guard.rules import REPEAT_WINDOW, Network


def _is_active(now: datetime) -> Q:
    return Q(lifted_at__isnull=True) & (Q(until__isnull=True) | Q(until__gt=now))


def visible_bans(actor: Actor) -> QuerySet[Ban]:
    """Every ban there has been lately, for those who may manage bans; nothing for anyone else."""
    return Ban.objects.all() if allows(actor.role, Permission.BAN_MANAGE) else Ban.objects.none()


def listed_bans(actor: Actor, now: datetime) -> QuerySet[Any]:
    """The visible bans with a column `active`: whether the ban is in force."""
    return visible_bans(actor).annotate(active=ExpressionWrapper(_is_active(now), output_field=BooleanField()))


def active_bans(now: datetime) -> QuerySet[Ban]:
    """The bans that are in force."""
    return Ban.objects.filter(_is_active(now))


def ban_ends(networks: Collection[str], now: datetime) -> dict[tuple[str, bool], datetime | None]:
    """When the active bans of these networks end, by network and whether the ban is automatic."""
    rows = active_bans(now).filter(network__in=networks).values_list("network", "automatic", "until")
    return {(network, is_automatic): until for network, is_automatic, until in rows}


def lock_network(network: Network) -> None:
    """Lock a network until the transaction ends, so that two transactions cannot both ban it.

    A unique index cannot do this, because whether a ban is active depends on the clock. SQLite needs no lock: it has
    one writer at a time.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"ban {network}"])


def earlier_automatic_bans(network: str, now: datetime) -> int:
    """The number of recent automatic bans of a network, without those that an admin has lifted."""
    recent = Ban.objects.filter(network=network, created_at__gt=now - REPEAT_WINDOW)
    return recent.filter(automatic=True, lifted_at__isnull=True).count()


def installed_key() -> str | None:
    """The fingerprint of the key that the database belongs to."""
    return InstalledKey.objects.values_list("fingerprint", flat=True).first()


def last_change() -> int:
    """The number of the newest entry in the system's log, which has an entry for each change of a ban.

    The counter is locked until its transaction ends. So when a number is visible, all entries up to it are visible
    too, independent of the clocks of the nodes and of long transactions (decision 0011).
    """
    return counters_of(SYSTEM_LOG).values_list("seq", flat=True).first() or 0


def changed_networks(after: int, upto: int) -> set[str]:
    """The networks of bans that changed in the entries from `after` (exclusive) to `upto` (inclusive)."""
    entries = log_of(SYSTEM_LOG).filter(seq__gt=after, seq__lte=upto, target_type=Ban.change_type)
    return set(entries.values_list("target_label", flat=True))
