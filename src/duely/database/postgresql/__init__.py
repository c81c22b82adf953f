"""Django's database backend for PostgreSQL with cheaper statements (`ENGINE` of the settings)."""
