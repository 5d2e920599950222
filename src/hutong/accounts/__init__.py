"""Who somebody is: registration, login, devices and tokens, profile, account data, filters, and erasure."""
