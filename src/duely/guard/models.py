"""What the limits of sign-in count where there is no Redis."""

from typing import ClassVar

from django.db import models


class Hit(models.Model):
    """One request that was let through. `key` says whose, as a hash: addresses and e-mails have no business here."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        db_table = "guard_hit"
        indexes: ClassVar = [
            models.Index(fields=["key", "at"], name="guard_hit_key"),
            models.Index(fields=["at"], name="guard_hit_at"),
        ]

    def __str__(self) -> str:
        return self.key
