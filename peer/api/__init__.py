"""The admin API: JSON over HTTP on a listener of its own, for the command line and other programs of the operator."""
