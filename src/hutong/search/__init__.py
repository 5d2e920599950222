"""Searching for people by what they are called. Everything is looked at in memory: the database knows no name."""
