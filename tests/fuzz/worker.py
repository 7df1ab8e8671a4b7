"""One target under the fuzzing engine, in a process of its own: `python -m tests.fuzz.worker TARGET [libFuzzer's options] CORPUS`.

The engine watches which branches of our code an input reaches and keeps those that reach new ones. It ends the process at the first input for which
the target raises, and leaves that input in a file.
"""

import os
import sys

import atheris

with atheris.instrument_imports(include=["peer", "gossip", "materializer", "tests.fuzz", "tests.frame_attack"], enable_loader_override=False):
    from tests.fuzz.planted import PLANTED, fragile
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run the engine; it does not return."""
    name = sys.argv.pop(1)
    run = TARGETS[name].run
    atheris.Setup(sys.argv, fragile(run) if os.environ.get(PLANTED) else run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
