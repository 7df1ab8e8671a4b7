"""The command `recmesh`: one file per noun. What people touch stands here; the work is done by the running peer, over its admin API."""
