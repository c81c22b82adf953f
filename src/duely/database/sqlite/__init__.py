"""Django's database backend for SQLite with a queue for writers (`ENGINE` of the settings)."""
