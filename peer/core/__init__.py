"""The pure core: bytes, keys, events, rosters. No clock, chance, socket, disk or logger in here; time and nonces are arguments."""
