"""Identifiers."""

import hashlib
import os
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=((milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10))) & _REST | _VERSION_7)


def derived_id(*parts: str) -> UUID:
    """A UUIDv8 (RFC 9562 section 5.8) from 122 bits of the SHA-256 of these parts. The same parts give the same id."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return UUID(int=int.from_bytes(digest[:16]) & _REST | _VERSION_8)


# The bits of version and variant (RFC 9562 section 4), and a mask of all other bits.
_REST = ~(0xF << 76 | 0x3 << 62)
_VERSION_7, _VERSION_8 = 0x7 << 76 | 0x2 << 62, 0x8 << 76 | 0x2 << 62
