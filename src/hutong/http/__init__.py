"""The edge: connections, routing, authentication, limits, errors. No business rules."""
