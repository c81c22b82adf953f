"""The type of the request that endpoints get."""

from django.http import HttpRequest

from duely.core.actor import Actor, Origin


class ApiRequest(HttpRequest):
    """origin: set by `pipeline` for every request. actor: set by the authentication of the API."""

    origin: Origin
    actor: Actor
