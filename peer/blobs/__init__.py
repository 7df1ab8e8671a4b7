"""Bytes of recordings: what is missing, where they are, how they come here."""
