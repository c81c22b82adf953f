"""Django's view of this module."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Reminders and digests by e-mail."""

    name = "duely.notifications"

    def ready(self) -> None:
        """Follow the changes of profiles that move digests."""
        from duely.activity.actions import follow
        from duely.notifications import reactions

        follow("user.profile_updated", reactions.on_profile_updated)
