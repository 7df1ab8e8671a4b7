"""`python -m tests.simulation SEED...` replays seeds; `--seeds N` runs that many."""

import sys

from tests.simulation.scenario import main

sys.exit(main(sys.argv[1:]))
