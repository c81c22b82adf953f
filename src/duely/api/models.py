"""The answers that are kept for retries."""

from typing import ClassVar

from django.db import models


class KeptAnswer(models.Model):
    """The first answer to a request with an `Idempotency-Key`.

    `id` is a digest of whose key it is and of the key; `fingerprint` one of what was asked, with a key of ours: bodies
    may hold passwords.
    """

    id = models.UUIDField(primary_key=True)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    headers = models.JSONField()
    body = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "api_kept_answer"
        indexes: ClassVar = [models.Index(fields=["created_at"], name="api_kept_answer_created")]

    def __str__(self) -> str:
        return str(self.id)
