"""`python -m bench`: every measurement, one after the other."""

from bench import backfill, finding, recording, replication, transfer

for part in (backfill, replication, recording, transfer, finding):
    part.main()
