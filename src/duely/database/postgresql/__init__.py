"""Django's database backend for PostgreSQL, at less cost (`ENGINE` of settings)."""
