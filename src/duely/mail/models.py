"""How many mails were sent within a day."""

from typing import ClassVar

from django.db import models

from duely.mail.rules import Allowance


class MailCount(models.Model):
    """Mails of one allowance on one day (UTC) that are counted together.

    `mailbox` is the SHA-256 of `limits.Count.key`: a mailbox, what one requester has a mailbox sent, or one kind of
    event of an account. So this table is not a list of addresses. `refused`: mails that were not sent because the limit
    was reached; a mail that waits is counted each time that it is tried.
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
