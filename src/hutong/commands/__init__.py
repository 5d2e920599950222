"""The commands of `hutong`, a file for each group."""
