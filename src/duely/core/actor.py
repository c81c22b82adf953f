"""Who asks, and from where. Every action takes an `Actor`; `None` stands for the system itself."""

from uuid import UUID

import msgspec

from duely.core.errors import NotAuthenticated


class Origin(msgspec.Struct, frozen=True):
    """Where a request came from, as the change log keeps it."""

    ip: str | None = None
    user_agent: str = ""
    request_id: str = ""


class Actor(msgspec.Struct, frozen=True):
    """The caller of an action.

    `id` is None for someone who has not signed in; `role` is then "anonymous".
    `zone` is the IANA name of the caller's time zone, `seq` the number of the last change
    in the log of what is theirs, as read with the session; None while a job changes their things.
    `sees_all` is for those whose role lets them see everyone's things.
    """

    id: UUID | None
    name: str
    role: str
    session_id: UUID | None
    zone: str
    origin: Origin
    seq: int | None = 0
    sees_all: bool = False

    @property
    def user_id(self) -> UUID:
        """The id of someone who has signed in. Raises NotAuthenticated (401) for anyone else."""
        if self.id is None:
            raise NotAuthenticated
        return self.id


def anonymous(origin: Origin) -> Actor:
    """The actor of a request without an access token."""
    return Actor(id=None, name="", role="anonymous", session_id=None, zone="UTC", origin=origin)
