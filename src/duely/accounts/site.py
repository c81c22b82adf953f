"""The frame of the admin's pages."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import BadRequest, ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.urls import reverse

from duely.accounts import actions
from duely.accounts.backends import admin_actor
from duely.core import clock
from duely.core.errors import Refused
from duely.guard import limits
from duely.guard.rules import Scope

View = Callable[..., HttpResponseBase]
FIELDS = {"current_password": "old_password", "new_password": "new_password1"}


class SignInForm(AdminAuthenticationForm):
    """Counts as a try to sign in, as in the API."""

    def clean(self) -> dict[str, Any]:
        """Look at the password, unless there have been too many tries. A form without one is no try."""
        is_complete = {"username", "password"} <= self.cleaned_data.keys()
        try:
            limits.limit_address(cast("HttpRequest", self.request), Scope.LOGIN if is_complete else Scope.ANONYMOUS)
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


def _refuse_nonsense(view: View) -> View:
    """The view; raises BadRequest (400) for values that no column can hold, where the database would fail."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        texts = [request.path_info, *_texts(request.GET), *_texts(request.POST)]
        if any("\x00" in text for text in texts):
            raise BadRequest("The request contains a NUL character.")
        try:
            return view(request, *args, **kwargs)
        except (ValidationError, DataError, OverflowError) as fault:
            raise BadRequest("A value is out of range.") from fault

    return checked


def _texts(query: QueryDict) -> Iterator[str]:
    for name, values in query.lists():
        yield name
        yield from map(str, values)


class Site(admin.AdminSite):
    """The admin's pages."""

    site_header = site_title = "Duely"
    login_form = SignInForm

    def get_urls(self) -> list[Any]:
        """As Django's, without the redirects to pages of things (`r/`): nothing here has one."""
        return [url for url in super().get_urls() if getattr(url, "name", None) != "view_on_site"]

    def admin_view(self, view: View, cacheable: bool = False) -> Any:
        """As Django's; what no page can mean is answered with 400."""
        return _refuse_nonsense(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """As Django's; what no page can mean is answered with 400."""
        return cast("HttpResponse", _refuse_nonsense(super().login)(request, extra_context))

    def password_change(  # type: ignore[override]  # the stubs forget the redirect
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Change my password."""
        page = PasswordPage.as_view(
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return page(request)
