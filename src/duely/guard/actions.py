"""What is done about unwelcome callers: bans, and the entries of those who reached a limit.

Locks are taken in one order: a network's, a ban's row, the change log's counter, which `record` locks.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from duely.activity.actions import Nobody, record
from duely.core import keys
from duely.core.actor import Actor, anonymous
from duely.core.clock import as_shown, rfc3339
from duely.core.errors import AlreadyExists, FieldError, Refused, ValidationFailed
from duely.core.ids import new_id
from duely.database.statements import bulk_insert_statement, insert_statement, update_statement
from duely.guard import bans, rules
from duely.guard.access import ban_for, require_management
from duely.guard.models import Ban, InstalledKey
from duely.guard.queries import earlier_automatic, installed_key, lock_network, standing_bans
from duely.guard.rules import LimitHit, Network

AUTOMATIC_REASON = (
    f"{rules.REFUSALS.limit} wrong tokens, passwords or codes within {rules.REFUSALS.seconds // 60} minutes"
)
KEEP_BANS = timedelta(days=90)
"""For how long a ban that is over stays on record."""


class BanIsOver(Refused):
    """The ban has ended or was lifted, so it cannot be changed."""

    code = "ban_is_over"
    status = 409
    title = "This ban has ended."


@transaction.atomic
def ban_address(
    *, actor: Actor, network: Network, reason: str = "", until: datetime | None = None, now: datetime
) -> Ban:
    """Keep out everyone of a network, until a time or, with None, for good. Works at once in this process, and in the
    others within a second. Unlike an automatic ban of the same network, which may stand beside it, this one also keeps
    out callers with a valid token.

    Raises Forbidden (403), AlreadyExists (409) while an admin's ban of the same network stands, ValidationFailed (400)
    for a network that is too wide or that nobody may ban, and for a time that is over. Records security.ip_banned.
    """
    require_management(actor)
    faults = [*_faults_of_network(network, actor), *_faults_of_end(until, now)]
    if faults:
        raise ValidationFailed(*faults)
    lock_network(network)
    if standing_bans(now).filter(network=str(network), automatic=False).exists():
        raise AlreadyExists(
            f"{network} is banned already.",
            errors=[FieldError("network", "already_exists", "Change or lift the existing ban.")],
        )
    ban = _new_ban(network, reason, until, now)
    ban.created_by, ban.created_by_name = actor.id, actor.name
    _insert(ban, network, actor, now)
    return ban


@transaction.atomic
def ban_automatically(*, network: Network, now: datetime) -> None:
    """Keep out strangers from an address that sent too many wrong tokens, passwords or codes: for an hour, and twice
    as long each time within seven days. Callers with a valid token still pass.

    When a ban of it stands, nothing more is done: another process was quicker. Records security.ip_banned.
    """
    lock_network(network)
    known = standing_bans(now).filter(network=str(network)).first()
    if known is not None:
        _on_commit_put(network, known)
        return
    until = now + rules.ban_time(earlier_automatic(str(network), now))
    ban = _new_ban(network, AUTOMATIC_REASON, until, now)
    ban.automatic = True
    _insert(ban, network, None, now)


@transaction.atomic
def change_ban(*, actor: Actor, ban_id: UUID, fields: Mapping[str, Any], now: datetime) -> Ban:
    """Change the reason or the end of a ban that stands. What is so already is no change.

    Raises NotFound (404), BanIsOver (409), ValidationFailed (400) for a time that is over. Records
    security.ban_changed.
    """
    ban = ban_for(actor, ban_id, lock=True)
    if not ban.stands(now):
        raise BanIsOver("Create a new ban.")
    if faults := _faults_of_end(fields.get("until"), now):
        raise ValidationFailed(*faults)
    columns = {name: new for name, new in fields.items() if getattr(ban, name) != new}
    if columns:
        changes = {name: [*as_shown((getattr(ban, name), new))] for name, new in columns.items()}
        record(actor, "security.ban_changed", ban, at=now, changes=changes, write=update_statement(ban, columns))
        _on_commit_put(rules.parse_network(ban.network), ban)
    return ban


@transaction.atomic
def lift_ban(*, actor: Actor, ban_id: UUID, now: datetime) -> None:
    """Let a network in again. Nothing happens when its ban is over. Raises NotFound (404).

    Records security.ban_lifted.
    """
    ban = ban_for(actor, ban_id, lock=True)
    if not ban.stands(now):
        return
    changes = {"lifted_at": [None, rfc3339(now)]}
    record(actor, "security.ban_lifted", ban, at=now, changes=changes, write=update_statement(ban, {"lifted_at": now}))
    network = rules.parse_network(ban.network)
    transaction.on_commit(lambda: bans.snapshot(is_automatic=ban.automatic).drop(network))


def claim_key(*, now: datetime) -> str:
    """The fingerprint of the key that the database belongs to: the first process makes its own that.

    When that is a fallback of this process, the key was changed, and the new one takes its place. Records
    security.key_changed.
    """
    own, *fallbacks = keys.fingerprints()
    installed = installed_key()
    if installed is None:
        row = InstalledKey(id=1, fingerprint=own, since=now)
        bulk_insert_statement([row], otherwise="ON CONFLICT DO NOTHING").run()
        installed = installed_key() or own
    if installed in fallbacks:
        _replace_key(installed, own, now)
        return own
    return installed


def adopt_key(*, now: datetime) -> None:
    """Make the key of this process the one of the database, whatever it was. Records security.key_changed."""
    own = keys.fingerprints()[0]
    installed = claim_key(now=now)
    if installed != own:
        _replace_key(installed, own, now)


@transaction.atomic
def _replace_key(old: str, new: str, now: datetime) -> None:
    # Several nodes may do this at once: one of them finds the old one, and records it.
    if InstalledKey.objects.filter(fingerprint=old).update(fingerprint=new, since=now):
        record(None, "security.key_changed", Nobody("secret_key"), at=now, changes={"fingerprint": [old, new]})


@transaction.atomic
def record_limit_hits(hits: Sequence[LimitHit]) -> None:
    """Put on record who reached a limit: with the user's own things, or with the system's for an address.

    Records security.rate_limited.
    """
    targets = [(_target(hit), hit) for hit in hits]
    # Counters are locked in the order of their owners, as everywhere.
    for target, hit in sorted(targets, key=lambda pair: pair[0].change_owner_id):
        facts = {"scope": hit.scope.value, "limit": hit.rate.limit, "seconds": hit.rate.seconds}
        changes = {name: [None, value] for name, value in facts.items()}
        record(anonymous(hit.origin), "security.rate_limited", target, at=hit.at, changes=changes)


@transaction.atomic
def purge_bans(  # allow: silent_action because the end of each ban is recorded, and its row is of no more use
    *, now: datetime, limit: int = 1000
) -> int:
    """Forget bans that ended or were lifted 90 days ago, at most `limit`; returns how many."""
    before = now - KEEP_BANS
    old = list(Ban.objects.filter(Q(until__lt=before) | Q(lifted_at__lt=before)).values_list("pk", flat=True)[:limit])
    Ban.objects.filter(pk__in=old).delete()
    return len(old)


def _faults_of_network(network: Network, actor: Actor) -> Sequence[FieldError]:
    if network.prefixlen < rules.WIDEST[network.version]:
        about = f"Ban at most a /{rules.WIDEST[network.version]} at once."
        return [FieldError("network", "out_of_range", about)]
    own = rules.parse_address(actor.origin.ip or "")
    if own is not None and own in network:
        return [FieldError("network", "would_lock_out", f"Your own address is {own}: you would lock yourself out.")]
    if rules.holds_loopback(network):
        return [
            FieldError("network", "would_lock_out", "It contains this server's own address, which always has access.")
        ]
    if rules.is_never_banned(network, settings.TRUSTED_PROXIES):
        about = "It holds a trusted proxy: everyone behind that would be locked out."
        return [FieldError("network", "would_lock_out", about)]
    return []


def _faults_of_end(until: datetime | None, now: datetime) -> Sequence[FieldError]:
    if until is None or until > now:
        return []
    return [FieldError("until", "out_of_range", "Use a time in the future, or null for a permanent ban.")]


def _new_ban(network: Network, reason: str, until: datetime | None, now: datetime) -> Ban:
    return Ban(id=new_id(), network=str(network), reason=reason, until=until, created_at=now, automatic=False)


def _insert(ban: Ban, network: Network, actor: Actor | None, now: datetime) -> None:
    columns = ("network", "reason", "until", "automatic")
    changes = {name: [*as_shown((None, value))] for name in columns if (value := getattr(ban, name)) not in (None, "")}
    record(actor, "security.ip_banned", ban, at=now, changes=changes, write=insert_statement(ban))
    _on_commit_put(network, ban)


def _on_commit_put(network: Network, ban: Ban) -> None:
    transaction.on_commit(lambda: bans.snapshot(is_automatic=ban.automatic).put(network, ban.until))


def _target(hit: LimitHit) -> Nobody:
    if hit.user_id is not None:
        return Nobody("user", hit.user_id, hit.user_id)
    return Nobody("address", change_label=rules.counted_address(hit.origin.ip))
