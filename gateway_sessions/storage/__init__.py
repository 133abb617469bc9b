"""Databases: connections, schema, migrations and searches."""
