"""A peer as the hub of others: who is there, and where. A convenience that nobody needs; what it says about a peer is a hint."""
