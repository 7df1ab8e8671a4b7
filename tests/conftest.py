"""What all tests share: how random the random ones are, and at the end, where it is read, what could not run here and what was measured."""

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.patience import shown
from tests.spreading import Spreading

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
"""True in `make test-long`: the same code with larger numbers."""

LONG_STORY = 3

SECOND_CHANCE = 1.3
"""After so much of its limit the process of a test ends: what is raised in a test that hangs may be swallowed, or hang again in what cleans up."""

_heard = 2
"""Standard error as it was before what tests write to it is kept apart."""

settings.register_profile("short", derandomize=True, deadline=None, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, database=None, max_examples=5000, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("long" if LONG else "short")


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers of this project mean, and let nothing around help or hinder: a shell that runs this in the background ignores Ctrl-C."""
    global _heard  # noqa: PLW0603  (nothing is captured yet, and what is written by then must be seen)
    _heard = os.dup(2)
    os.environ.pop("PYTHONUNBUFFERED", None)  # Where it is set, what is written to a pipe arrives even if nobody flushes it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # Where it is set, each process that a test starts compiles the whole project anew.
    os.environ["RECMESH_RECEIPT_DELAY"] = (
        "3600"  # What a site says of its bytes by itself would count among the events of a test that has others in mind.
    )
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "long_story: the test does many things one after the other and may take several times as long as others")
    config.addinivalue_line("markers", "needs(what): the test needs something that not every machine has; it runs or says loudly why not")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spreading | None:
    """Keep together what shares something; see there."""
    return Spreading(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Shortly before `--timeout` ends a test that hangs, say what its tasks wait for: the stacks of threads that are shown then do not."""
    limit = item.get_closest_marker("timeout")
    seconds = limit.args[0] if limit is not None else item.config.getoption("timeout", None)
    if not seconds:
        return (yield)
    timers = [threading.Timer(0.9 * float(seconds), _show_tasks), threading.Timer(SECOND_CHANCE * float(seconds), _abandon, [item.nodeid])]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        return (yield)
    finally:
        for timer in timers:
            timer.cancel()


def _show_tasks() -> None:
    sys.stderr.write(_tasks())


def _tasks() -> str:
    return f"the tasks of a test that hangs:\n{shown([each for each in gc.get_objects() if isinstance(each, asyncio.Task)])}\n"


def _abandon(test: str) -> None:
    os.write(_heard, f"\n{test} did not end after its limit either.\n{_tasks()}".encode())
    faulthandler.dump_traceback(_heard)
    os._exit(os.EX_SOFTWARE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Carry what a test needs into its report, which crosses the border between processes, and give long stories their time."""
    seconds = config.getoption("timeout", None)
    for item in items:
        if seconds and item.get_closest_marker("long_story") is not None:
            item.add_marker(pytest.mark.timeout(LONG_STORY * float(seconds)))
        for marker in item.iter_markers("needs"):
            item.user_properties.append(("needs", " ".join(str(argument) for argument in marker.args)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which tests that need something special ran, and which did not, and why."""
    ran: dict[str, int] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, what in getattr(report, "user_properties", []):
                if name == "needs" and report.when == "call":
                    ran[what] = ran.get(what, 0) + 1
    measured = [
        value for report in terminalreporter.stats.get("passed", []) for name, value in getattr(report, "user_properties", []) if name == "measured"
    ]
    skipped: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason] = skipped.get(reason, 0) + 1
    terminalreporter.section("what needs more than Python")
    for what, count in sorted(ran.items()):
        terminalreporter.line(f"RAN      {count:4} test(s) that need {what}")
    for reason, count in sorted(skipped.items()):
        terminalreporter.line(f"NOT RUN  {count:4} test(s): {reason.removeprefix('Skipped: ')}")
    if not skipped:
        terminalreporter.line("nothing was skipped")
    for line in measured:
        terminalreporter.line(f"MEASURED {line}")
