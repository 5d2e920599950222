"""Rooms: their timelines, their state, and who may change it."""
