"""Keys for each purpose, derived from the secret key. A leaked key of one purpose does not reveal any other."""

import hashlib
import hmac
from functools import lru_cache

from duely.core.settings import setting


@lru_cache(maxsize=64)
def _derive(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), b"duely/" + purpose.encode(), hashlib.sha256)


def fingerprints() -> tuple[str, ...]:
    """Fingerprints of the secret key and of each fallback. They identify a key and reveal nothing about it."""
    return tuple(_fingerprint(secret) for secret in (setting("SECRET_KEY"), *setting("SECRET_KEY_FALLBACKS")))


@lru_cache(maxsize=64)
def _fingerprint(secret: str) -> str:
    return _derive(secret, "fingerprint")[:8].hex()


def current_key(purpose: str) -> bytes:
    """The 32-byte key for new signatures of this purpose."""
    return _derive(setting("SECRET_KEY"), purpose)


def accepted_keys(purpose: str) -> tuple[bytes, ...]:
    """The current key and the keys of `SECRET_KEY_FALLBACKS`, to check earlier signatures."""
    return _accepted((setting("SECRET_KEY"), *setting("SECRET_KEY_FALLBACKS")), purpose)


@lru_cache(maxsize=64)
def _accepted(secrets: tuple[str, ...], purpose: str) -> tuple[bytes, ...]:
    return tuple(_derive(secret, purpose) for secret in secrets)
