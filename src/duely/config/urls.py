"""All routes: the API under /api/v1/, the admin, the health checks and the pages."""

from django.contrib import admin
from django.urls import include, path, register_converter
from django.views.generic import RedirectView
from dmr.routing import Router

from duely.accounts import endpoints as accounts
from duely.activity import endpoints as activity
from duely.api import documents
from duely.api.routes import IdConverter
from duely.guard import endpoints as guard
from duely.http import health, pipeline
from duely.notifications.views import unsubscribe
from duely.tasks import endpoints as tasks
from duely.transfer import endpoints as transfer
from duely.web.views import home, verify_email

PREFIX = "api/v1/"

register_converter(IdConverter, "id")

ROUTES = [*accounts.ROUTES, *tasks.ROUTES, *activity.ROUTES, *guard.ROUTES, *transfer.ROUTES]
ALIASES: list[tuple[str, str]] = [*accounts.ALIASES]

router = Router(PREFIX, [path(route, view.as_view()) for route, view in ROUTES])
_views = dict(ROUTES)
_document = documents.Document(router, ALIASES)

api_patterns = [
    *router.urls,
    *(path(alias, _views[canonical].as_view()) for alias, canonical in ALIASES),
    path("", documents.index),
    path("schema/", _document.schema),
    path("docs/", _document.swagger),
]

urlpatterns = [
    path(PREFIX, include(api_patterns)),
    path("healthz", health.alive),
    path("readyz", health.ready),
    path("admin/", admin.site.urls),
    path("unsubscribe/<str:token>/", unsubscribe, name="unsubscribe"),
    path("verify-email/", verify_email),
    # Browsers keep the part behind the # when they follow a redirect.
    path(
        "verify-email", RedirectView.as_view(url="/verify-email/", query_string=True, http_method_names=["get", "head"])
    ),
    path("", home),
]

handler500 = pipeline.page_error
