"""The caller of an action and the origin of a request. Every action takes an `Actor`; `None` means the system."""

from uuid import UUID

import msgspec

from duely.core.errors import NotAuthenticated


class Origin(msgspec.Struct, frozen=True):
    """The origin of a request, which the change log stores."""

    ip: str | None = None
    user_agent: str = ""
    request_id: str = ""


class Actor(msgspec.Struct, frozen=True):
    """The caller of an action.

    id: None for a caller who has not signed in, with the role "anonymous".
    zone: the IANA name of the caller's time zone.
    seq: the number of the last entry in the caller's log, read with the session. None while a job changes their
    objects.
    """

    id: UUID | None
    name: str
    role: str
    session_id: UUID | None
    zone: str
    origin: Origin
    seq: int | None = 0

    @property
    def user_id(self) -> UUID:
        """The id of a caller who has signed in. Raises NotAuthenticated (401) for others."""
        if self.id is None:
            raise NotAuthenticated
        return self.id


def anonymous(origin: Origin) -> Actor:
    """The actor of a request without an access token."""
    return Actor(id=None, name="", role="anonymous", session_id=None, zone="UTC", origin=origin)
