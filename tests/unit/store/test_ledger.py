"""The ledger of bytes, asked by threads while its site ends."""

import threading
from pathlib import Path

from peer.core.byte_store import FileNote
from peer.core.identity import BlobId
from peer.store.database import connect_for_threads
from peer.store.ledger import SCHEMA, SqliteLedger
from tests.patience import PATIENCE_S

BLOB = BlobId(b"b" * 32)
NOTE = FileNote(1, 2, 3, 4, is_sound=True)


def test_a_ledger_is_closed_only_when_nobody_is_writing_in_it(tmp_path: Path) -> None:
    """SQLite crashes the process where a connection is closed under a statement that runs."""
    connection = connect_for_threads(tmp_path / "ledger.db", "ledger")
    ledger = SqliteLedger(connection)
    writes, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def hold_up(_statement: str) -> None:
        writes.set()
        go_on.wait(PATIENCE_S)

    def close() -> None:
        ledger.close()
        closed.set()

    connection.set_trace_callback(hold_up)
    writing, closing = threading.Thread(target=ledger.note, args=(BLOB, NOTE)), threading.Thread(target=close)
    writing.start()
    assert writes.wait(PATIENCE_S)
    closing.start()

    assert not closed.wait(0.2)
    go_on.set()
    for thread in (writing, closing):
        thread.join(PATIENCE_S)
    assert closed.is_set()


def test_who_asks_a_closed_ledger_learns_nothing(tmp_path: Path) -> None:
    ledger = SqliteLedger(connect_for_threads(tmp_path / "ledger.db", SCHEMA))
    ledger.note(BLOB, NOTE)
    ledger.close()

    assert ledger.get(BLOB) is None
    assert list(ledger.blobs()) == []
    ledger.note(BLOB, NOTE)
    ledger.close()
