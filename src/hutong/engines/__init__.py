"""The engines under a node: PostgreSQL, embedded or given, its tables and migrations."""
