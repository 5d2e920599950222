"""A cell: its writer and log, the positioned tables and all their SQL, the tail, the link, replication."""
