"""The error tree, by fault: who has to act when it is raised.

Each leaf has a stable `code`: the same word on the wire, in HTTP answers, in logs and on the command line. `docs/errors.md` lists them all. The trunk
is in `base.py`; leaves stand in `here.py`, `elsewhere.py`, `reading.py`, `copies.py` and `retention.py`, and are imported
from this package.
"""

from peer.errors.base import *
from peer.errors.copies import *
from peer.errors.elsewhere import *
from peer.errors.here import *
from peer.errors.reading import *
from peer.errors.retention import *
