"""How paths name things."""

from uuid import UUID


class IdConverter:
    """A UUID in a path, in either case. Anything else is an unknown path, so 404."""

    regex = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

    def to_python(self, value: str) -> UUID:
        """The id."""
        return UUID(value)

    def to_url(self, value: UUID) -> str:
        """Its canonical form."""
        return str(value)
