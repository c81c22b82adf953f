"""Password checks, and how often one may be wrong. No other module compares a password with a stored hash.

Wrong passwords are counted for each account. Strangers share one count, and each network has a share of it that is
smaller, so that one attacker does not use up everybody's. An address from which somebody has signed in to the account
has a count of its own: strangers who guess all the time do not keep the owner out (decision 0030).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from weakref import WeakValueDictionary

import django.contrib.auth.hashers

from duely.accounts import queries
from duely.accounts.models import User
from duely.core.actor import Actor
from duely.core.clock import whole_seconds
from duely.core.errors import RateLimited, Unavailable
from duely.database import slots
from duely.guard import limits, rules
from duely.guard.rules import Rate
from duely.guard.stores import LimitedKey

FROM_ONE_PLACE: Final = Rate(5, 60)
"""Wrong passwords for one account from one address, or within one session."""
FROM_ONE_NETWORK: Final = Rate(10, 3600)
"""From one IPv4 /24 or IPv6 /48."""
FROM_STRANGERS: Final = Rate(20, 3600)
"""From all addresses together that have not signed in to the account."""
FROM_KNOWN_ADDRESS: Final = Rate(20, 3600)
GATE_SECONDS: Final = 10.0

TOO_MANY = "Too many wrong passwords for this account. "


def is_right(password: str, encoded: str, *, account: str, actor: Actor, user: User | None = None) -> bool:
    """Whether this is the password with that hash. A wrong one counts, a right one does not.

    account: what the wrong passwords are counted for, such as a user name as it was typed; the same text for the same
    account whether or not that exists. user: the owner, if there is one.
    Raises RateLimited (429) without a look at the password when there were too many wrong ones.
    """
    with _one_at_a_time(account):
        places = _places(account, actor, user)
        if django.contrib.auth.hashers.check_password(password, encoded):
            return True
        limits.note_wrong_guess(places)
        return False


def is_reused(new_password: str, encoded: str) -> bool:
    """Whether a new password is the one that is stored. Not counted: only who may replace the password asks this."""
    return django.contrib.auth.hashers.check_password(new_password, encoded)


def _places(account: str, actor: Actor, user: User | None) -> Sequence[LimitedKey]:
    """Where a wrong password will be counted. Raises RateLimited when one of these places is full."""
    if actor.session_id is not None:
        # Whoever has stolen one session uses up that session's share, not the owner's.
        place = network = f"session {actor.session_id}"
    else:
        place = rules.counted_address(actor.origin.ip)
        network = rules.neighbourhood(actor.origin.ip)
    own = (f"{account} {place}", FROM_ONE_PLACE)
    places = [own, (f"{account} {network}", FROM_ONE_NETWORK), (account, FROM_STRANGERS)]
    wait = limits.guess_wait(places)
    if wait and user is not None and queries.knows_address(user.id, place):
        places = [own, (f"{account} {place} known", FROM_KNOWN_ADDRESS)]
        wait = limits.guess_wait(places)
    if wait:
        limits.note_refused_guess(account, FROM_STRANGERS, user.id if user else None, actor.origin)
        raise RateLimited(whole_seconds(wait), TOO_MANY)
    return places


class _Gate:
    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()


_gates: "WeakValueDictionary[str, _Gate]" = WeakValueDictionary()
_gates_lock = threading.Lock()


@contextmanager
def _one_at_a_time(account: str) -> Iterator[None]:
    """Check one password of an account at a time in this process. Otherwise many guesses at once would all see the
    count from before the first of them. Raises Unavailable (503) after ten seconds.
    """
    with _gates_lock:
        gate = _gates.setdefault(account, _Gate())
    if not gate.lock.acquire(blocking=False):
        with slots.without_slot():
            is_mine = gate.lock.acquire(timeout=GATE_SECONDS)
        if not is_mine:
            raise Unavailable("Too many passwords of this account are being checked. Try again in a few seconds.")
    try:
        yield
    finally:
        gate.lock.release()
