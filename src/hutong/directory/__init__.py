"""How rooms are found: by an alias, and in the list of published rooms."""
