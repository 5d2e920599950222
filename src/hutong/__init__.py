"""hutong: a self-hosted messaging super-app on the Matrix Client-Server API, with every word at rest at home."""

__version__ = "0.1.0"
