"""Receipts and read markers: how far somebody has read a room, and how far they let others know."""
