"""The settings of an embedded PostgreSQL, and those that a given one must have.

Source: PostgreSQL 18, "Server Configuration".
"""

import os

PORT = 5432
"""Of an embedded cluster: only a part of its socket's name."""

REQUIRED = {
    "server_encoding": ("UTF8",),
    "fsync": ("on",),
    "synchronous_commit": ("on", "remote_write", "remote_apply"),
    "full_page_writes": ("on",),
    "log_statement": ("none",),
    "log_error_verbosity": ("terse",),
    "log_parameter_max_length": ("0",),
    "log_parameter_max_length_on_error": ("0",),
    "log_min_error_statement": ("panic",),
    "log_min_duration_statement": ("-1",),
}
"""What `hutong doctor` asks of a given PostgreSQL: durability, and a log that holds no statement's text."""

_FIXED = {
    # Who may come: the cells of this node, through the socket in the cluster's own folder.
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_directories": "'.'",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # Durable: what was acknowledged is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "max_wal_senders": "2",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "wal_compression": "off",
    "checkpoint_timeout": "15min",
    # Short statements, few processes.
    "jit": "off",
    "io_method": "sync",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_max_workers": "2",
    "max_logical_replication_workers": "0",
    # A log without anybody's words: no statement, no parameter, no detail.
    "log_destination": "'stderr'",
    "logging_collector": "off",
    "log_line_prefix": "'%m [%p] '",
    "log_timezone": "'UTC'",
    "timezone": "'UTC'",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "compute_query_id": "off",
    "lc_messages": "'C'",
}


LOCAL = "local.conf"


def configuration(*, local: bool) -> str:
    """The text of `postgresql.conf`. `local`: the operator has put a `local.conf` beside it."""
    lines = [f"# Written by hutong at each start. What you put into {LOCAL} beside it goes before it.", ""]
    lines += [f"{name} = {value}" for name, value in _FIXED.items()]
    lines.append(f"shared_buffers = {_shared_buffers_mib()}MB")
    if local:
        lines.append(f"include '{LOCAL}'")
    return "\n".join(lines) + "\n"


def _shared_buffers_mib() -> int:
    """A thirty-second of the memory: a node of a laptop has three clusters, and programs beside them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(64, min(1024, (memory >> 20) // 32))
