"""What tasks do when something that they depend on changes."""

from duely.accounts.models import User
from duely.activity.actions import Entry
from duely.core.clock import now
from duely.tasks.actions import move_whole_days


def on_profile_updated(entry: Entry) -> None:
    """All-day tasks end with the day in their owner's time zone."""
    user = entry.target
    if isinstance(user, User) and "time_zone" in entry.changes:
        move_whole_days(owner_id=user.id, zone=entry.changes["time_zone"][1], now=now(), user=user)
