"""What `make bench` runs: hutong beside Synapse, through the public API, on one machine in one run."""
