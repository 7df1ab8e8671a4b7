"""Where peers can be reached: sources of addresses, and what merges them. A source says where, never who."""
