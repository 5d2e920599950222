"""Content: sealing and opening it, the keys it is sealed under, and keyed hashes for looking things up by name."""
