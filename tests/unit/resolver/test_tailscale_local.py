"""Asking a daemon on a real socket that checks what tailscaled checks."""

import asyncio
import socket
from pathlib import Path

import pytest

from peer.core.mesh import Mesh
from peer.errors import MeshAbsentError, MeshAnswerInvalidError, MeshRefusedError, MeshUnreachableError
from resolver import tailscale_local
from resolver.tailscale_local import Daemon, LocalApi
from tests.fake_tailscaled import TOKEN, FakeDaemon


async def test_the_daemon_answers_what_is_asked_as_it_wants_to_be_asked(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    found = await LocalApi(Daemon(str(path))).status()

    assert (found.mesh, daemon.asked) == (Mesh.RUNNING, 1)


async def test_the_fake_refuses_what_the_daemon_refuses(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would say nothing."""
    monkeypatch.setattr(tailscale_local, "BASE", "http://localhost/localapi/v0")

    with pytest.raises(MeshRefusedError):
        await LocalApi(Daemon(str(path))).status()
    assert daemon.asked == 1


async def test_on_a_port_the_token_is_shown() -> None:
    daemon = FakeDaemon()
    async with daemon.on_port():
        assert (await LocalApi(Daemon("", daemon.port, TOKEN)).status()).mesh is Mesh.RUNNING
        with pytest.raises(MeshRefusedError) as refused:
            await LocalApi(Daemon("", daemon.port, "another-token")).status()
    assert "another-token" not in f"{refused.value!r} {refused.value}"
    with pytest.raises(MeshUnreachableError):
        await LocalApi(Daemon("", daemon.port, TOKEN)).status()


async def test_no_daemon_is_a_word_of_its_own(path: Path) -> None:
    with pytest.raises(MeshAbsentError):
        await LocalApi(Daemon(str(path))).status()


async def test_a_socket_that_a_daemon_left_behind_is_no_daemon(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    with pytest.raises(MeshUnreachableError, match="does not run"):
        await LocalApi(Daemon(str(path))).status()


async def test_a_daemon_that_restarts_is_asked_again(path: Path) -> None:
    api = LocalApi(Daemon(str(path)))
    for _ in range(2):
        async with FakeDaemon().on_socket(path):
            assert (await api.status()).mesh is Mesh.RUNNING
        path.unlink(missing_ok=True)
        with pytest.raises(MeshAbsentError):
            await api.status()


async def test_a_silent_daemon_is_waited_for_so_long_and_no_longer(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailscale_local, "CALL_TIMEOUT_S", 0.2)
    daemon.silent = True

    async with asyncio.timeout(30):
        with pytest.raises(MeshUnreachableError, match="does not answer within"):
            await LocalApi(Daemon(str(path))).status()


async def test_a_daemon_that_may_not_be_asked_says_so(daemon: FakeDaemon, path: Path) -> None:
    daemon.refuses = True

    with pytest.raises(MeshRefusedError):
        await LocalApi(Daemon(str(path))).status()


async def test_a_program_that_says_too_much_is_not_listened_to(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailscale_local, "BODY_SIZE_MAX", 1000)
    daemon.raw = b" " * 2000

    with pytest.raises(MeshAnswerInvalidError, match="more than"):
        await LocalApi(Daemon(str(path))).status()


async def test_another_program_at_that_place_is_no_daemon(path: Path) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_unix_server(speak, path)
    async with server:
        with pytest.raises(MeshUnreachableError):
            await LocalApi(Daemon(str(path))).status()
