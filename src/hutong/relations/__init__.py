"""Edits, reactions, references and threads: what relates to an event, and how it is told with it."""
