"""Presence: who is there, coarsely, and what they say they are doing. In memory only; it costs no row."""
