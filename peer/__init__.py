"""The peer: one running process per site."""

__version__ = "0.1.0"
