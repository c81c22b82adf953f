"""Identifiers."""

import hashlib
import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10)) & _RANDOM | _VERSION_7)


_VERSION_7 = 0x7 << 76 | 0x2 << 62
_RANDOM = 0x0FFF_3FFF_FFFF_FFFF_FFFF


def derived_id(*parts: str) -> UUID:
    """The same id for the same parts: a UUIDv8 (RFC 9562 section 5.8) of 122 bits of their SHA-256."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return _of_version(8, int.from_bytes(digest[:16]))


def _of_version(version: int, value: int) -> UUID:
    """These 128 bits with version and variant in their places (RFC 9562 section 4)."""
    value = value & ~(0xF << 76) | version << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
