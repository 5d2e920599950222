"""Where everybody's data is, proved byte by byte: what `hutong audit residency` reads, searches for and reports."""
