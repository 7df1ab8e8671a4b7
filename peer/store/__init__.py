"""What must outlive the process: the data directory, its keys, and `log.db`, the truth. Durable first, told to everybody afterwards."""
