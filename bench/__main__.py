"""`python -m bench`: every measurement, one after the other."""

from bench import backfill, finding, recording, transfer

for part in (backfill, recording, transfer, finding):
    part.main()
