"""Log lines hold no secret, though the frames that an error passed through do. Where no line can be written the work goes on."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from peer.core.group import Invitation
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.roster import Role
from peer.logs import get_log, set_up_logs

SEED = bytes(range(100, 132))


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def fail(secret: bytes) -> None:
    told = secret.hex()
    raise ValueError(len(told))


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_values(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("debug", form)

    try:
        fail(SEED)
    except ValueError as error:
        get_log("test").error("it failed", exc_info=error)
        logging.getLogger("elsewhere").exception("it failed")

    shown = capsys.readouterr().err
    assert shown.count("ValueError") >= 2
    assert "test_logs.py" in shown
    assert SEED.hex() not in shown
    assert repr(SEED) not in shown


def test_bytes_that_are_no_request_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("debug", "text")
    server = logging.getLogger("aiohttp.server")

    for error in (BadHttpMessage(f"Unexpected whitespace: {SEED.hex()}"), ZeroDivisionError("a bug")):
        server.error("Error handling request from %s", "192.0.2.1", exc_info=error)

    shown = capsys.readouterr().err
    assert "a bug" in shown
    assert SEED.hex() not in shown
    assert shown.count("Error handling request") == 1


@pytest.fixture
def failing(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """A stream that takes nothing: the disk is full, nobody reads, or it is closed later."""
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    raw = os.fdopen(writer if request.param == "nobody reads" else full, "wb", buffering=0)
    yield io.TextIOWrapper(raw, write_through=True)
    raw.close()
    os.close(full if request.param == "nobody reads" else writer)


@pytest.mark.parametrize("failing", ["full disk", "nobody reads", "closed"], indirect=True)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_that_cannot_be_written_breaks_nothing(
    form: str, failing: TextIO, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", failing)
    set_up_logs("debug", form)
    if "closed" in request.node.callspec.params.values():
        failing.close()

    with pytest.raises((OSError, ValueError)):
        failing.write("x")
    get_log("test").error("it failed", exc_info=ZeroDivisionError("a bug"))


def test_keys_and_invitations_show_what_is_public_alone() -> None:
    key = KeyPair(SEED)
    invitation = Invitation(GroupId(b"g" * 32), "lab", PeerId(b"p" * 32), PeerId(b"p" * 32), "https://a:1", Role.WRITER, 1, SEED)

    for shown in (repr(key), str(key), repr(invitation), str(invitation), f"{[invitation]}"):
        assert SEED.hex() not in shown
        assert repr(SEED)[2:-1] not in shown
        assert key.public.hex()[:12] in shown


def test_a_command_loads_nothing_that_only_a_peer_needs() -> None:
    """What is loaded is waited for at each command: keys, hashes and events, and what asks another peer, are for those that use them."""
    seldom = ("nacl", "blake3", "cbor2", "httpx", "aiohttp", "peer.config", "peer.core.interfaces")
    code = f"import sys, peer.cli.main; sys.exit(str([name for name in {seldom} if name in sys.modules] or ''))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60, stdin=subprocess.DEVNULL, capture_output=True).stderr.strip() == b""


def test_a_peer_loads_nothing_that_only_commands_and_calls_of_others_need() -> None:
    """What is loaded at the start stays: of 150 MB that a peer may have."""
    seldom = ("rich", "httpx", "matplotlib", "typer")
    code = f"import sys, peer.node; sys.exit(str([name for name in {seldom} if name in sys.modules] or ''))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60, stdin=subprocess.DEVNULL, capture_output=True).stderr.strip() == b""
