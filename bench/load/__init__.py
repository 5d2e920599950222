"""The load generator: a process of its own, so that its cost is not the server's. See `bench/README.md`."""
