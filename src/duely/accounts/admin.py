"""Users and sessions in Django's admin: to look at, and to change through the same actions as the API."""

from collections.abc import Callable
from typing import Any

import django.contrib.auth.admin  # noqa: F401  # registers groups, which are taken out below
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from duely.accounts import actions
from duely.accounts.backends import admin_actor
from duely.accounts.models import Session, User
from duely.accounts.rules import Role
from duely.api.admin import ReadOnlyAdmin
from duely.core import clock
from duely.core.errors import Refused


class ReadOnly(ReadOnlyAdmin):
    """Shows rows; all changes are actions on them."""

    def each(self, request: HttpRequest, rows: QuerySet[Any], act: Callable[[Any], object]) -> None:
        """Do this to each row, and say what was refused."""
        for row in rows:
            try:
                act(row)
            except Refused as refused:
                self.message_user(request, f"{row}: {refused.title} {refused.detail}", messages.ERROR)
            else:
                self.message_user(request, f"{row}: done.", messages.SUCCESS)


@admin.register(User)
class UserAdmin(ReadOnly):
    """Users: find them, change their role, let them in or keep them out."""

    list_display = ("username", "email", "role", "is_active", "created_at")
    list_filter = ("role", "is_active")
    search_fields = ("username_key", "email_key")
    ordering = ("-created_at", "id")
    exclude = ("password", "username_key", "email_key")
    actions = ("make_admin", "make_member", "make_intern", "deactivate", "reactivate", "sign_out")

    def _change(self, request: HttpRequest, users: QuerySet[User], **wanted: Any) -> None:
        actor, now = admin_actor(request), clock.now()
        self.each(request, users, lambda user: actions.change_user(actor=actor, user_id=user.pk, **wanted, now=now))

    @admin.action(description="Make admin")
    def make_admin(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        self._change(request, users, role=Role.ADMIN)

    @admin.action(description="Make member")
    def make_member(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        self._change(request, users, role=Role.MEMBER)

    @admin.action(description="Make intern")
    def make_intern(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        self._change(request, users, role=Role.INTERN)

    @admin.action(description="Deactivate, and sign out everywhere")
    def deactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        self._change(request, users, is_active=False)

    @admin.action(description="Reactivate")
    def reactivate(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        self._change(request, users, is_active=True)

    @admin.action(description="End all sessions")
    def sign_out(self, request: HttpRequest, users: QuerySet[User]) -> None:
        """An action of the list."""
        actor, now = admin_actor(request), clock.now()
        self.each(request, users, lambda user: actions.end_sessions_of(actor=actor, user_id=user.pk, now=now))


@admin.register(Session)
class SessionAdmin(ReadOnly):
    """Sessions: see who is signed in from where, and end one."""

    list_display = ("user", "ip", "user_agent", "created_at", "last_used_at", "expires_at", "ended_at", "end_reason")
    list_filter = ("end_reason",)
    list_select_related = ("user",)
    search_fields = ("user__username_key", "ip")
    ordering = ("-created_at", "id")
    actions = ("end",)

    @admin.action(description="End")
    def end(self, request: HttpRequest, sessions: QuerySet[Session]) -> None:
        """An action of the list."""
        actor, now = admin_actor(request), clock.now()
        self.each(request, sessions, lambda session: actions.end_session(actor=actor, session=session, now=now))


# Permissions come from roles; groups would look as if they did something.
admin.site.unregister(Group)
