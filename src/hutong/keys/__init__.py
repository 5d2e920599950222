"""End-to-end encryption, the server's part: the public keys of people and devices. It reads no encrypted word."""
