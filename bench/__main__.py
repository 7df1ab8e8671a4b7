"""`python -m bench`: every measurement, one after the other."""

from bench import backfill, finding, recording

for part in (backfill, recording, finding):
    part.main()
