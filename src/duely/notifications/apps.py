"""The Django app of this module."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Reminders and digests by e-mail."""

    name = "duely.notifications"

    def ready(self) -> None:
        """Subscribe to changes of profiles, which can move the time of a digest."""
        from duely.activity.actions import follow
        from duely.notifications import reactions

        follow("user.profile_updated", reactions.on_profile_updated)
