"""Django's database backend for SQLite, where those who want to write stand in line (`ENGINE` of settings)."""
