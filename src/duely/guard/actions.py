"""Create, change and lift bans; record limit hits; store the fingerprint of the secret key.

Locks are taken in one order, against deadlocks: the network, the row of the ban, the counter of the change log, which
`record` locks.
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
from duely.guard.queries import active_bans, earlier_automatic_bans, installed_key, lock_network
from duely.guard.rules import LimitHit, Network

AUTOMATIC_REASON = (
    f"{rules.REFUSALS.limit} wrong tokens, passwords or codes within {rules.REFUSALS.seconds // 60} minutes"
)
KEEP_BANS = timedelta(days=90)
"""For how long the row of an ended ban is kept."""


class BanIsOver(Refused):
    """The ban has ended or was lifted, so it cannot be changed."""

    code = "ban_is_over"
    status = 409
    title = "This ban has ended."


@transaction.atomic
def ban_address(
    *, actor: Actor, network: Network, reason: str = "", until: datetime | None = None, now: datetime
) -> Ban:
    """Refuse every request from a network until a time, or permanently with None.

    The ban works at once in this process and within a second in the others. It also refuses callers with a valid
    token, unlike an automatic ban. A network can have one ban of each kind.

    Raises Forbidden (403), AlreadyExists (409) if an admin's ban of the same network is active, ValidationFailed (400)
    for a network that is too wide or must not be banned, and for a time in the past. Records security.ip_banned.
    """
    require_management(actor)
    faults = [*_faults_of_network(network, actor), *_faults_of_end(until, now)]
    if faults:
        raise ValidationFailed(*faults)
    lock_network(network)
    if active_bans(now).filter(network=str(network), automatic=False).exists():
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
    """Refuse strangers from an address that sent too many wrong tokens, passwords or codes.

    The ban lasts an hour, and twice as long for each repetition within seven days. Callers with a valid token still
    pass (decision 0029). If a ban of the network is active already, because another process was faster, that one is
    taken over and nothing is stored. Records security.ip_banned.
    """
    lock_network(network)
    active_ban = active_bans(now).filter(network=str(network)).first()
    if active_ban is not None:
        _on_commit_put(network, active_ban)
        return
    until = now + rules.ban_time(earlier_automatic_bans(str(network), now))
    ban = _new_ban(network, AUTOMATIC_REASON, until, now)
    ban.automatic = True
    _insert(ban, network, None, now)


@transaction.atomic
def change_ban(*, actor: Actor, ban_id: UUID, fields: Mapping[str, Any], now: datetime) -> Ban:
    """Change the reason or the end of an active ban. Fields that have the given value already are ignored.

    Raises NotFound (404), BanIsOver (409), ValidationFailed (400) for a time in the past. Records
    security.ban_changed.
    """
    ban = ban_for(actor, ban_id, lock=True)
    if not ban.is_active(now):
        raise BanIsOver("Create a new ban.")
    faults = _faults_of_end(fields.get("until"), now)
    if faults:
        raise ValidationFailed(*faults)
    columns = {name: value for name, value in fields.items() if getattr(ban, name) != value}
    if columns:
        changes = {name: list(as_shown((getattr(ban, name), value))) for name, value in columns.items()}
        record(actor, "security.ban_changed", ban, at=now, changes=changes, write=update_statement(ban, columns))
        _on_commit_put(rules.parse_network(ban.network), ban)
    return ban


@transaction.atomic
def lift_ban(*, actor: Actor, ban_id: UUID, now: datetime) -> None:
    """End a ban now. A ban that has ended is not changed. Raises NotFound (404). Records security.ban_lifted."""
    ban = ban_for(actor, ban_id, lock=True)
    if not ban.is_active(now):
        return
    changes = {"lifted_at": [None, rfc3339(now)]}
    record(actor, "security.ban_lifted", ban, at=now, changes=changes, write=update_statement(ban, {"lifted_at": now}))
    network = rules.parse_network(ban.network)
    transaction.on_commit(lambda: bans.snapshot(is_automatic=ban.automatic).drop(network))


def claim_key(*, now: datetime) -> str:
    """The fingerprint of the key that belongs to the database. The first process stores the one of its own key.

    If the stored key is a fallback key of this process (SECRET_KEY_FALLBACKS), the operator has changed the key, and
    the new one is stored. Records security.key_changed.
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
    """Store the key of this process as the key of the database, in place of any other. Records security.key_changed."""
    own = keys.fingerprints()[0]
    installed = claim_key(now=now)
    if installed != own:
        _replace_key(installed, own, now)


@transaction.atomic
def _replace_key(old: str, new: str, now: datetime) -> None:
    # Several nodes may do this at the same time: only one of them updates the row, and records the change.
    if InstalledKey.objects.filter(fingerprint=old).update(fingerprint=new, since=now):
        record(None, "security.key_changed", Nobody("secret_key"), at=now, changes={"fingerprint": [old, new]})


@transaction.atomic
def record_limit_hits(hits: Sequence[LimitHit]) -> None:
    """Record callers that reached a limit: in the log of the user, or in the system's log for an address.

    Records security.rate_limited.
    """
    targets = [(_target(hit), hit) for hit in hits]
    # Counters are locked in the order of their owners, as everywhere, against deadlocks.
    for target, hit in sorted(targets, key=lambda pair: pair[0].change_owner_id):
        changes: dict[str, list[Any]] = {
            "scope": [None, hit.scope.value],
            "limit": [None, hit.rate.limit],
            "seconds": [None, hit.rate.seconds],
        }
        record(anonymous(hit.origin), "security.rate_limited", target, at=hit.at, changes=changes)


@transaction.atomic
def purge_bans(  # allow: silent_action because the end of each ban is recorded, and its row is of no more use
    *, now: datetime, limit: int = 1000
) -> int:
    """Delete at most `limit` bans that ended or were lifted more than 90 days ago. Returns their number."""
    before = now - KEEP_BANS
    ended = Ban.objects.filter(Q(until__lt=before) | Q(lifted_at__lt=before))
    ids = list(ended.values_list("pk", flat=True)[:limit])
    Ban.objects.filter(pk__in=ids).delete()
    return len(ids)


def _faults_of_network(network: Network, actor: Actor) -> Sequence[FieldError]:
    if network.prefixlen < rules.WIDEST[network.version]:
        message = f"Ban at most a /{rules.WIDEST[network.version]} at once."
        return [FieldError("network", "out_of_range", message)]
    own_address = rules.parse_address(actor.origin.ip or "")
    if own_address is not None and own_address in network:
        message = f"Your own address is {own_address}: you would lock yourself out."
        return [FieldError("network", "would_lock_out", message)]
    if rules.holds_loopback(network):
        message = "It contains this server's own address, which always has access."
        return [FieldError("network", "would_lock_out", message)]
    if rules.is_never_banned(network, settings.TRUSTED_PROXIES):
        message = "It holds a trusted proxy: everyone behind that would be locked out."
        return [FieldError("network", "would_lock_out", message)]
    return []


def _faults_of_end(until: datetime | None, now: datetime) -> Sequence[FieldError]:
    if until is None or until > now:
        return []
    return [FieldError("until", "out_of_range", "Use a time in the future, or null for a permanent ban.")]


def _new_ban(network: Network, reason: str, until: datetime | None, now: datetime) -> Ban:
    return Ban(id=new_id(), network=str(network), reason=reason, until=until, created_at=now, automatic=False)


def _insert(ban: Ban, network: Network, actor: Actor | None, now: datetime) -> None:
    columns = {name: getattr(ban, name) for name in ("network", "reason", "until", "automatic")}
    changes = {name: list(as_shown((None, value))) for name, value in columns.items() if value not in (None, "")}
    record(actor, "security.ip_banned", ban, at=now, changes=changes, write=insert_statement(ban))
    _on_commit_put(network, ban)


def _on_commit_put(network: Network, ban: Ban) -> None:
    # After the commit: a ban that is rolled back must not apply in this process.
    transaction.on_commit(lambda: bans.snapshot(is_automatic=ban.automatic).put(network, ban.until))


def _target(hit: LimitHit) -> Nobody:
    if hit.user_id is not None:
        return Nobody("user", hit.user_id, hit.user_id)
    return Nobody("address", change_label=rules.counted_address(hit.origin.ip))
