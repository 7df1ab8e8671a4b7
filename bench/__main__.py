"""`python -m bench`: every measurement, one after the other."""

from bench import backfill, recording

for part in (backfill, recording):
    part.main()
