"""Where the sessions of the admin's pages are kept: as Django does, but under a hash of what the cookie says.

Whoever reads the database finds no cookie to use.
"""

import hashlib
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.db import InterfaceError, OperationalError

from duely.core import clock


class SessionStore(db.SessionStore):
    """Django's own, with another key in the table than in the cookie."""

    def exists(self, session_key: str) -> bool:
        """Whether there is such a session."""
        return super().exists(_stored(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        """The row of this session."""
        row = super().create_model_instance(data)
        row.session_key = _stored(row.session_key)
        return row

    def save(self, must_create: bool = False) -> None:
        """Write the row. Raises UpdateError if it was deleted, and the database's own error if that is unavailable."""
        try:
            super().save(must_create)  # allow: full_save because Django writes its own sessions
        except UpdateError as fault:
            # Django raises UpdateError for every error of the database. Pages would answer 400 "session was deleted".
            if isinstance(fault.__context__, OperationalError | InterfaceError):
                raise fault.__context__  # noqa: B904 - `from` would replace the driver's error, its cause
            raise

    def delete(self, session_key: str | None = None) -> None:
        """Forget a session, this one if none is named."""
        key = session_key or self.session_key
        if key is not None:
            super().delete(_stored(key))

    def _get_session_from_db(self) -> Any:
        """The row of this session; None when there is none any more."""
        rows = self.model.objects.filter(expire_date__gt=clock.now())
        row = rows.filter(session_key=_stored(self.session_key)).first() if self.session_key else None
        if row is None:
            self._session_key = None
        return row


def _stored(session_key: str) -> str:
    """As long as the table's column lets it be: 160 bits."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:40]
