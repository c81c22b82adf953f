"""Plans the next digest again when a profile changes."""

from duely.accounts.models import User
from duely.activity.actions import Entry
from duely.core.clock import now
from duely.notifications.actions import plan_digest


def on_profile_updated(entry: Entry) -> None:
    """Set the time of the next digest after a change of its hour or of the time zone."""
    user = entry.target
    if not isinstance(user, User):
        return
    if "digest_hour" in entry.changes or ("time_zone" in entry.changes and user.digest_hour is not None):
        plan_digest(user_id=user.id, hour=user.digest_hour, zone=user.time_zone, now=now())
