"""Parts of a peer put together, each module one part; `peer/node.py` puts these together. Nothing else knows so many packages."""
