"""The counters of mails within a day."""

from typing import ClassVar

from django.db import models

from duely.mail.rules import Allowance


class MailCount(models.Model):
    """A counter of mails of one allowance on one day (UTC).

    `mailbox` is the SHA-256 of `limits.Count.key`, so that this table is not a list of addresses. The key is a mailbox,
    a requester with a mailbox, or an account with a kind of event. `refused`: mails that were not sent because of the
    limit. A mail that waits for the next day is counted at each attempt.
    """

    id = models.BigAutoField(primary_key=True)
    mailbox = models.CharField(max_length=64)
    day = models.DateField()
    allowance = models.CharField(max_length=16)
    sent = models.IntegerField()
    refused = models.IntegerField()

    class Meta:
        db_table = "mail_count"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["mailbox", "day", "allowance"], name="mail_count_once"),
            models.CheckConstraint(
                condition=models.Q(allowance__in=[allowance.value for allowance in Allowance]),
                name="mail_count_allowance",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["day"], name="mail_count_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.allowance}"
