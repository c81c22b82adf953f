"""Settings for what every request asks: Django looks through three layers for each, which takes ten times as long."""

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


@lru_cache(maxsize=64)
def setting(name: str) -> Any:
    """One of django.conf.settings, for as long as no test overrides any."""
    return getattr(settings, name)


def _forget(**_: Any) -> None:
    setting.cache_clear()


setting_changed.connect(_forget)
