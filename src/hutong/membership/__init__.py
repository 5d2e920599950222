"""Who is in a room: inviting, joining, leaving, kicking, banning, forgetting."""
