"""Stored answers for retries."""

from typing import ClassVar

from django.db import models


class KeptAnswer(models.Model):
    """The first answer to a request with an `Idempotency-Key`.

    id: a digest of the user's id and the key. fingerprint: a keyed digest of the request, because bodies may contain
    passwords. size: the number of bytes of `body`. user_id: null in rows of earlier releases.
    """

    id = models.UUIDField(primary_key=True)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    headers = models.JSONField()
    body = models.BinaryField()
    created_at = models.DateTimeField()
    user_id = models.UUIDField(null=True)
    size = models.IntegerField(default=0, db_default=0)

    class Meta:
        db_table = "api_kept_answer"
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="api_kept_answer_created"),
            # The quotas are computed from this index alone (decision 0036).
            models.Index(fields=["user_id", "created_at", "size"], name="api_kept_answer_user"),
        ]

    def __str__(self) -> str:
        return str(self.id)
