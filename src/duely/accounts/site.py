"""The frame of the admin's pages."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from duely.accounts import actions
from duely.accounts.backends import admin_actor
from duely.core import clock
from duely.core.errors import Refused
from duely.guard import limits
from duely.guard.rules import Scope

FIELDS = {"current_password": "old_password", "new_password": "new_password1"}


class SignInForm(AdminAuthenticationForm):
    """Counts as a try to sign in, as in the API."""

    def clean(self) -> dict[str, Any]:
        """Look at the password, unless there have been too many tries."""
        try:
            limits.limit_address(cast("HttpRequest", self.request), Scope.LOGIN)
            return super().clean()
        except Refused as refused:
            raise ValidationError(refused.detail) from None


class PasswordForm(PasswordChangeForm):
    """Leaves the check of the old password to the action, which records a wrong one."""

    def clean_old_password(self) -> str:
        """As it was typed."""
        return str(self.cleaned_data["old_password"])


class PasswordPage(PasswordChangeView):
    """Changes a password as the API does: recorded, and with an end to all other sessions."""

    form_class = PasswordForm

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Do it, or show why not."""
        try:
            actor, now = admin_actor(self.request), clock.now()
            new = actions.prepare_password(
                actor=actor,
                user=form.user,
                current_password=form.cleaned_data["old_password"],
                new_password=form.cleaned_data["new_password1"],
                now=now,
            )
            user = actions.change_password(actor=actor, new=new, now=now)
        except Refused as refused:
            for error in refused.errors:
                form.add_error(FIELDS[error.field], error.message)
            if not refused.errors:
                form.add_error("old_password", refused.detail)  # the page shows errors of fields only
            return self.form_invalid(form)
        update_session_auth_hash(self.request, user)
        return HttpResponseRedirect(self.get_success_url())


class Site(admin.AdminSite):
    """The admin's pages."""

    site_header = site_title = "Duely"
    login_form = SignInForm

    def password_change(  # type: ignore[override]  # the stubs forget the redirect
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Change my password."""
        page = PasswordPage.as_view(
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return page(request)
