"""`python -m tests.fuzz`: each target in turn for a bounded time, from seeds that are made for it. Ends with 1 at an input that breaks one.

A broken target prints how to see it again: `python -m tests.fuzz --target NAME --input FILE`.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
MEMORY_MB = 1024
"""An input for which a process grows beyond this is a bug."""

INPUT_SECONDS = 10
"""An input that takes longer is one, too."""

GRACE_S = 60
"""How much longer than it was given a process may live: it has to start, and to end its last input."""

NOISE = ("#", "INFO: Instrumenting")
"""Lines of the engine that say nothing of what it found."""

FOUND = Path("fuzz-found")
"""Where inputs are left that break a target."""

NO_ENGINE = "the fuzzing engine is not installed: run make fuzz, or pip install --require-hashes -r requirements/fuzz.txt"


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing was found, 1 if something was, 2 if the engine is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz what reads bytes from elsewhere.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be given several times")
    parser.add_argument("--input", type=Path, help="run the one target on this file, without the engine")
    options = parser.parse_args(arguments)
    names = options.target or list(TARGETS)
    if options.input is not None:
        TARGETS[names[0]].run(options.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(f"{NO_ENGINE}\n")
        return 2
    broken = [name for name in names if not fuzz(name, TARGETS[name], options.seconds)]
    sys.stdout.write(f"{len(names) - len(broken)} of {len(names)} targets held: {', '.join(broken) or 'nothing was found'}\n")
    return 1 if broken else 0


def fuzz(name: str, target: Target, seconds: int) -> bool:
    """True if the engine found nothing in that time."""
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds()):
            (Path(folder) / f"seed-{number:04}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={target.size_max}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={INPUT_SECONDS}",
            f"-artifact_prefix={FOUND.resolve()}/{name}-",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        command = [sys.executable, "-m", "tests.fuzz.worker", name, *options, folder]
        ended = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=seconds + GRACE_S, check=False)
    said = ended.stdout + ended.stderr
    sys.stdout.write(
        f"{name}: {_count(said)} inputs in {seconds} s, {'ended with ' + str(ended.returncode) if ended.returncode else 'nothing found'}\n"
    )
    if ended.returncode == 0:
        return True
    sys.stdout.write("\n".join(line for line in said.splitlines() if not line.startswith(NOISE))[-6000:] + "\n")
    for path in sorted(FOUND.glob(f"{name}-*"), key=lambda each: each.stat().st_mtime)[-1:]:
        sys.stdout.write(f"the input: {path.read_bytes().hex()}\nsee it again: python -m tests.fuzz --target {name} --input {path}\n")
    return False


def _count(said: str) -> str:
    """How many inputs were tried, as the engine says at its end."""
    for line in said.splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            return line.rpartition(":")[2].strip()
    return "some"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


if __name__ == "__main__":
    sys.exit(main())
