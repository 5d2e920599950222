"""Typing notices: who is writing in a room right now. In memory only; they cost no row."""
