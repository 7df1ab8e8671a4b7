"""Would the fuzzer find a bug? One is planted that random input does not hit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import ROOT, main
from tests.fuzz.planted import PLANTED

HAS_ENGINE = importlib.util.find_spec("atheris") is not None


@pytest.mark.needs("the fuzzing engine")
@pytest.mark.skipif(not HAS_ENGINE, reason="the fuzzing engine is not installed: make fuzz-engine")
def test_the_fuzzer_finds_a_planted_bug_and_prints_what_shows_it_again(tmp_path: Path) -> None:
    """Mostly within ten seconds; by chance it would take sixteen million inputs."""
    environment = {**os.environ, PLANTED: "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "150", "--target", "message"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=270)

    assert ended.returncode == 1, ended.stdout
    assert "PlantedError: found" in ended.stdout
    (path,) = (tmp_path / "fuzz-found").glob("message-crash-*")
    assert path.read_bytes().hex() in ended.stdout
    assert f"--target message --input {path.relative_to(tmp_path)}" in ended.stdout
    assert main(["--target", "message", "--input", str(path)]) == 0  # Without the planted bug there is none.


def test_without_the_engine_the_fuzzer_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "atheris", None)

    assert main(["--target", "message"]) == 2
    assert "make fuzz" in capsys.readouterr().err
