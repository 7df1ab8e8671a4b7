"""Ctrl-C in the moment before a read begins, which the read itself does not notice: another thread takes the signal, so that no chance is in it."""

import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from peer.cli.client import AdminClient

DEADLINE_S = 20.0
LOOKS, LOOK_S = 20, 0.01


class Silent(BaseHTTPRequestHandler):
    """Begins an answer, has Ctrl-C pressed, and says nothing more while it is waited for."""

    interrupted = threading.Event()
    gave_up = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wait_until_it_reads()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        type(self).gave_up = not self.interrupted.wait(DEADLINE_S)

    def wait_until_it_reads(self) -> None:
        """Until the main thread sleeps: so many times in a row that it waits for us, and not for its turn."""
        state, asleep = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat"), 0
        while asleep < LOOKS:
            asleep = asleep + 1 if state.read_text().rpartition(") ")[2].startswith("S") else 0
            self.interrupted.wait(LOOK_S)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Silent.interrupted.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Silent.interrupted.set()
        server.shutdown()
        serving.join(DEADLINE_S)


@pytest.mark.parametrize("ask", [lambda client: list(client.follow("/events")), lambda client: client.get("/status")], ids=["follow", "get"])
def test_ctrl_c_ends_a_wait_for_an_answer(url: str, ask: Callable[[AdminClient], object]) -> None:
    before = signal.getsignal(signal.SIGALRM)

    with AdminClient(url, "token", "here") as client, pytest.raises(KeyboardInterrupt):
        ask(client)

    assert not Silent.gave_up
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
