"""`python -m bench`: every measurement, one after the other."""

from bench import backfill

for part in (backfill,):
    part.main()
