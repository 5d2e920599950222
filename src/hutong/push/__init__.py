"""Push rules: which events a person is told about aloud. Today the default rules of the specification, read only."""
