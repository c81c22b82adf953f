"""Keys for each purpose, derived from the secret key: one leaked use does not open another."""

import hashlib
import hmac
from functools import lru_cache

from duely.core.settings import setting


@lru_cache(maxsize=64)
def _derive(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), b"duely/" + purpose.encode(), hashlib.sha256)


def fingerprints() -> tuple[str, ...]:
    """What tells the secret key from others and says nothing about it; then the same of each fallback."""
    return tuple(_fingerprint(secret) for secret in (setting("SECRET_KEY"), *setting("SECRET_KEY_FALLBACKS")))


@lru_cache(maxsize=64)
def _fingerprint(secret: str) -> str:
    return _derive(secret, "fingerprint")[:8].hex()


def current_key(purpose: str) -> bytes:
    """The 32-byte key with which new things of this purpose are signed."""
    return _derive(setting("SECRET_KEY"), purpose)


def accepted_keys(purpose: str) -> tuple[bytes, ...]:
    """The current key and those of `SECRET_KEY_FALLBACKS`, for checking what was signed earlier."""
    return _accepted((setting("SECRET_KEY"), *setting("SECRET_KEY_FALLBACKS")), purpose)


@lru_cache(maxsize=64)
def _accepted(secrets: tuple[str, ...], purpose: str) -> tuple[bytes, ...]:
    return tuple(_derive(secret, purpose) for secret in secrets)
