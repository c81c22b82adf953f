"""How passwords are hashed."""

import os
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

from duely.database.slots import without_slot

# A hash takes 19 MiB and a core for some 20 ms. More at once than there are cores would only slow each other and
# everyone else down, so the processes of one machine share its cores. Threads of their own, because a thread keeps the
# memory that it once had: with each request hashing in its own it was 600 MiB.
_HASHING = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // settings.WEB_CONCURRENCY), "password")

NOBODYS_HASH = (
    "argon2$argon2id$v=19$m=19456,t=2,p=1$VVZmUm5UQ0FJNTJOUkQwWk5zcmp4dw$h8CkcAm7CUidCfa/8mT9+bViVxBShK1TkBb/tpdB4eo"
)
"""Checked in place of the hash of a user who does not exist, so that both take the same time. Nothing fits it."""


class Argon2id(Argon2PasswordHasher):
    """Argon2id with the parameters that OWASP's password storage cheat sheet names first."""

    memory_cost = 19_456
    time_cost = 2
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        """Hash a password when a core is free."""
        # While one thread hashes, the slot serves other requests (decision 0013).
        with without_slot():
            return _HASHING.submit(super().encode, password, salt).result()

    def verify(self, password: str, encoded: str) -> bool:
        """Check a password when a core is free."""
        with without_slot():
            return _HASHING.submit(super().verify, password, encoded).result()
