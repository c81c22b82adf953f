"""The WSGI application that granian serves."""

import os
from typing import TYPE_CHECKING

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

if TYPE_CHECKING:
    from duely.http.entry import Application


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")


def _ready_application() -> "Application":
    django = get_wsgi_application()
    # Modules with models can be imported only after Django is set up.
    from duely.http.entry import api_first, watched, with_length, with_slot
    from duely.http.health import health_first

    application = health_first(watched(with_length(with_slot(api_first(django)))))
    # Imports all routes now, so that a broken module fails at the start and not at the first request.
    _ = get_resolver().url_patterns
    return application


application = _ready_application()
