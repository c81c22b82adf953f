"""Authentication of operations: an access token, or none with a rate limit by address."""

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string
from dmr import Controller, ResponseSpec
from dmr.endpoint import Endpoint
from dmr.openapi.objects import Reference, SecurityRequirement, SecurityScheme
from dmr.security import SyncAuth

from duely.api.request import ApiRequest
from duely.core.actor import Actor, anonymous


@cache
def _authenticate() -> Callable[[HttpRequest], Actor]:
    authenticate: Callable[[HttpRequest], Actor] = import_string(settings.AUTHENTICATE)
    return authenticate


class Bearer(SyncAuth):
    """An access token in the Authorization header (RFC 6750 section 2.1), checked by `settings.AUTHENTICATE`."""

    __slots__ = ()
    www_authenticate_challenge = "Bearer"

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "Bearer":
        controller.request.actor = _authenticate()(controller.request)  # type: ignore[attr-defined]
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """The description in the OpenAPI document."""
        description = (
            "The access token: the value of `access` in the answer of `POST /api/v1/auth/login/`,"
            " `POST /api/v1/auth/verify-otp/` or `POST /api/v1/auth/token/refresh/`. Paste it without quotes and"
            " without the word `Bearer`. It expires after `expires_in` seconds; then get a new one."
        )
        return {"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT", description=description)}

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """The requirement in the OpenAPI document."""
        return [{"bearer": []}]

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []


@cache
def limit_public() -> Callable[..., None]:
    """The function that counts a request without a sign-in towards a limit (`settings.LIMIT_PUBLIC`).

    It raises RateLimited (429).
    """
    return cast("Callable[..., None]", import_string(settings.LIMIT_PUBLIC))


class Open(SyncAuth):
    """No sign-in: the caller is anonymous. `limit_public` counts the request by address towards the limit `scope`."""

    __slots__ = ("scope",)
    www_authenticate_challenge = None

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "Open":
        request = cast("ApiRequest", controller.request)
        limit_public()(request, self.scope)
        request.actor = anonymous(request.origin)
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """None."""
        return {}

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """None."""
        return []

    def provide_response_specs(self, *_: Any, **__: Any) -> list[ResponseSpec]:
        return []


class OpenOrBearer(Open):
    """Open to everyone, but an access token is checked if there is one, because the answer depends on it."""

    __slots__ = ()

    def __call__(self, endpoint: Endpoint, controller: Controller[Any]) -> "OpenOrBearer":
        super().__call__(endpoint, controller)
        request = cast("ApiRequest", controller.request)
        if request.META.get("HTTP_AUTHORIZATION"):
            request.actor = _authenticate()(request)
        return self

    def security_schemes(self, *_: Any) -> dict[str, SecurityScheme | Reference]:
        """The same as of `Bearer`."""
        return Bearer().security_schemes()

    def security_requirements(self, *_: Any) -> list[SecurityRequirement]:
        """A token. `duely.api.openapi` adds that it is optional, because dmr drops empty requirements."""
        return Bearer().security_requirements()
