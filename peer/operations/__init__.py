"""What a person or program can do with a peer: one file per noun. Use cases know the rules; where things lie is told by protocols."""
