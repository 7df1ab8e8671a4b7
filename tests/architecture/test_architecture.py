"""The house rules that a machine can hold: sizes, docstrings, documented codes, nothing of one machine in what is shipped."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from peer import errors
from peer.failpoints import FAILPOINTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("peer", "resolver", "gossip", "materializer")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

TOP_LEVEL = {
    *(".ci", ".gitignore", "CHANGELOG.md", "Makefile", "README.md", "pyproject.toml"),
    *("bench", "configs", "docs", "requirements", "tests", *PACKAGES),
}
"""Everything that may lie at the top: a new noun is a decision."""

FAILPOINTS_PENDING = {"tree.before_rename", "views.after_commit", "views.before_commit"}
"""Failpoints that no code passes yet. Empty when the code is whole."""

PURE = (
    *(
        "peer.core",
        "peer.sync",
        "peer.errors",
        "peer.blobs.plan",
        "peer.hub.budgets",
        "peer.hub.records",
        "peer.hub.refusal",
        "peer.hub.registry",
        "gossip.record",
        "gossip.table",
        "gossip.exchange",
    ),
    *(
        "gossip.credit",
        "gossip.dials",
        "gossip.failed",
        "gossip.kept",
        "gossip.own",
        "gossip.reading",
        "gossip.resting",
        "gossip.rules",
        "gossip.site",
        "gossip.sites",
    ),
    *(
        "resolver.hub_answers",
        "materializer.bodies",
        "materializer.registers",
        "materializer.recordings",
        "materializer.manifest",
        "materializer.digest",
    ),
    *("materializer.fields", "materializer.edits", "materializer.rights"),
    *("materializer.receipts", "materializer.reviews", "materializer.values"),
)


def tracked() -> list[Path]:
    """The files that belong to the project: what git knows, or, in an unpacked archive, everything but caches."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]
    caches = {".venv", ".git", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not caches & set(path.relative_to(ROOT).parts)]


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]
SHIPPED = [path for path in PYTHON if path.relative_to(ROOT).parts[0] in PACKAGES]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def all_errors(error: type[errors.MeshError]) -> list[type[errors.MeshError]]:
    return [error, *(below for each in error.__subclasses__() for below in all_errors(each))]


def in_the_tree() -> list[type[errors.MeshError]]:
    """The errors of `peer/errors/`, not those that a test made."""
    return [each for each in all_errors(errors.MeshError) if each.__module__.startswith(f"{errors.__name__}.")]


def test_the_files_are_found() -> None:
    assert len(SHIPPED) > 20


def test_no_file_is_longer_than_400_lines() -> None:
    long = {named(path): count for path in PYTHON if (count := len(text_of(path).splitlines())) >= FILE_LINES_MAX}

    assert not long


def test_no_function_is_longer_than_60_lines() -> None:
    long = {
        f"{named(path)}:{node.lineno} {node.name}": length
        for path in PYTHON
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) >= FUNCTION_LINES_MAX
    }

    assert not long


def test_every_module_says_what_it_is_for() -> None:
    """But for test modules, whose name says it."""
    silent = [
        named(path)
        for path in PYTHON
        if text_of(path).strip() and not path.name.startswith("test_") and not ast.get_docstring(ast.parse(text_of(path)))
    ]

    assert not silent


def test_every_package_says_what_it_is_for() -> None:
    silent = [named(path) for path in SHIPPED if path.name == "__init__.py" and not ast.get_docstring(ast.parse(text_of(path)))]

    assert not silent


def test_no_module_is_called_utils_or_its_like() -> None:
    assert not [named(path) for path in SHIPPED if re.search(r"util|helper|common|misc|manager", path.stem)]


def test_nothing_is_left_to_do() -> None:
    """What is not done is not written, or stands in docs/scope.md."""
    word = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")

    assert not [f"{named(path)}:{number}" for path in FILES for number, line in _lines(path) if word.search(line)]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        return list(enumerate(text_of(path).splitlines(), 1))
    except UnicodeDecodeError:
        return []


def test_no_file_names_a_machine() -> None:
    """Paths of one machine's users, and registry hosts, have no place in what others check out."""
    machine = re.compile(r"/(?:home|Users)/\w|/ro" + r"ot/\w|/wo" + r"rk/\w|pypi\.org|pythonhosted|index-url|--trusted-host|extra-index")
    found = [f"{named(path)}:{number}: {line.strip()[:80]}" for path in FILES for number, line in _lines(path) if machine.search(line)]

    assert not [each for each in found if not each.startswith(("Makefile:", "tests/architecture/"))]


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_requirements_are_pinned_with_hashes_and_name_no_host(name: str) -> None:
    text = text_of(ROOT / "requirements" / f"{name}.txt")
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    unpinned = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( ; .*)? \\", line)]

    assert len(pins) > 10
    assert not unpinned
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_both_requirements_pin_the_same_versions() -> None:
    pins = [
        dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text_of(ROOT / "requirements" / f"{name}.txt"), re.MULTILINE)) for name in ("runtime", "dev")
    ]

    assert pins[0].items() <= pins[1].items()


def test_every_dependency_of_the_project_is_pinned() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    pinned = set(re.findall(r"^([A-Za-z0-9._-]+)==", text_of(ROOT / "requirements" / "runtime.txt"), re.MULTILINE))
    wanted = {re.split(r"[<>=~\[]", dependency)[0] for dependency in project["dependencies"]}

    assert wanted <= pinned


def test_error_codes_are_stable_words_and_each_means_one_thing() -> None:
    codes = [error.code for error in in_the_tree()]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z][a-z_]+", code) for code in codes)
    assert all(error.__doc__ for error in in_the_tree())


def test_every_error_code_is_documented_and_no_other() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \|", text_of(ROOT / "docs" / "errors.md"), re.MULTILINE)

    assert sorted(documented) == sorted(error.code for error in in_the_tree())


def test_every_failpoint_is_passed_somewhere_and_no_other() -> None:
    """By its whole name, or by its two halves where one place in the code serves several callers."""
    code = "\n".join(text_of(path) for path in SHIPPED if path.name != "failpoints.py")
    literal = set(re.findall(r"\bfailpoint\(\s*\"([^\"]+)\"", code))
    joined = {name for name in FAILPOINTS if f'"{name.split(".")[0]}"' in code and f'}}.{name.split(".")[1]}"' in code}

    assert literal - set(FAILPOINTS) == set()
    assert set(FAILPOINTS) - literal - joined <= FAILPOINTS_PENDING


def test_nothing_unknown_lies_at_the_top() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} <= TOP_LEVEL


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))

    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "peer/__init__.py"


def test_every_pure_module_is_held_to_it() -> None:
    """A pure module that lands has to be named in the contract that keeps it pure."""
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    held = next(set(contract["source_modules"]) for contract in contracts if contract["name"].startswith("Pure modules"))
    there = {module for module in PURE if (ROOT / module.replace(".", "/")).is_dir() or (ROOT / f"{module.replace('.', '/')}.py").is_file()}

    assert there <= held


def test_only_tests_that_say_so_sleep() -> None:
    """A test waits for a condition, not for a time."""
    tests = [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "tests" and "architecture" not in path.parts]
    sleeping = [f"{named(path)}:{number}" for path in tests for number, line in _lines(path) if re.search(r"\btime\.sleep\(", line)]

    assert not sleeping
