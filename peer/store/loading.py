"""What is read at the start: groups, logs, tips and control events. Costs one look per branch, however long the logs are.

Here, too, is the fence against writing on in a copy: what does not lie where it lay, or not as it was, is a copied or restored directory.
"""

import os
from collections.abc import Iterable

from peer.core.certificate import LogKind, read_certificate
from peer.core.control import ControlEvent
from peer.core.encoding import encode
from peer.core.event import held_event
from peer.core.group import read_genesis
from peer.core.identity import EventId, GroupId, KeyPair, PeerId
from peer.errors import MeshError, StoreCorruptError, StoreError
from peer.store.database import Connection
from peer.store.groups import Branch, GroupRecord, Groups, LogRecord, new_group
from peer.store.judged import Fresh, judge_after
from peer.store.keys import Fence, KeyFiles
from peer.store.peers import read_peers
from peer.store.requests import INCARNATION_SIZE, Own, Writing, write_fact
from peer.store.rows import read_event_at

FENCE = "fence"
INCARNATION = "incarnation"


def load_groups(connection: Connection) -> Groups:
    """Everything that is held, as it is on disk. Raises `StoreCorruptError` where that makes no sense."""
    groups = Groups()
    (position,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    try:
        for record in _read_groups(connection):
            groups.add(record)
            for log in _read_logs(connection, record):
                groups.take_log(record, log)
            control = [entry for log in record.logs.values() if log.certificate.kind is LogKind.CONTROL for entry in _control_events(connection, log)]
            record.take_judged(judge_after(connection, record, Fresh({}, (), control, position), groups.log_of_branch), control)
        for (group,) in connection.execute("SELECT group_id FROM left_groups WHERE forgotten"):
            groups.forget(GroupId(group))
        for peer in read_peers(connection):
            groups.name_peer(peer.peer_id, peer.groups)
    except StoreError:
        raise
    except (MeshError, ValueError, TypeError) as error:
        raise StoreCorruptError(f"log.db holds what was never written to it: {error}", fix="run: recmesh verify") from error
    return groups


def load_own(connection: Connection, groups: Groups, keys: KeyFiles, peer: KeyPair, database: Fence) -> Own:
    """What this peer wrote on last, if it still may. `database` is what the file of `log.db` is; its ctime does not count."""
    incarnation = _fact(connection, INCARNATION)
    here = encode([*keys.peer_fence(), database.inode])
    intact = _fact(connection, FENCE) == here
    if not intact:
        connection.execute("DELETE FROM open_logs")
        write_fact(connection, FENCE, here)
    own = Own(peer, keys, incarnation or b"")
    intact = _open_logs(connection, groups, own) and intact
    if not intact or not incarnation:
        own.incarnation = os.urandom(INCARNATION_SIZE)
        write_fact(connection, INCARNATION, own.incarnation)
    (own.position,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    return own


def _open_logs(connection: Connection, groups: Groups, own: Own) -> bool:
    """Go on with the logs whose keys are where they were made. False if one is not."""
    by_number = {record.number: record for record in groups.groups.values()}
    intact = True
    for group_no, kind, log, *fence in connection.execute("SELECT group_no, kind, log, inode, ctime_ns FROM open_logs").fetchall():
        record = by_number[group_no]
        key = own.keys.log_key(record.group, LogKind(kind))
        held = record.logs.get(log)
        if key is None or held is None or key.fence != Fence(*fence) or key.key.public != held.certificate.key or len(held.branches) != 1:
            intact = False
            connection.execute("DELETE FROM open_logs WHERE group_no = ? AND kind = ?", (group_no, kind))
            continue
        last = read_event_at(connection, held.branches[0].position)
        own.open_logs[record.group, LogKind(kind)] = Writing(key.key, held.certificate, last)
    return intact


def _fact(connection: Connection, name: str) -> bytes:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return bytes(row[0]) if row else b""


def _read_groups(connection: Connection) -> Iterable[GroupRecord]:
    for number, group, genesis in connection.execute("SELECT group_no, group_id, genesis FROM groups ORDER BY group_no").fetchall():
        yield new_group(number, read_genesis(genesis, GroupId(group)))


def _read_logs(connection: Connection, group: GroupRecord) -> Iterable[LogRecord]:
    sql = "SELECT log_no, certificate FROM logs WHERE group_no = ? ORDER BY log_no"
    for number, certificate in connection.execute(sql, (group.number,)).fetchall():
        sql = "SELECT branch_no, parent_branch, fork_height FROM branches WHERE log_no = ? ORDER BY branch_no"
        branches = [_read_branch(connection, *row) for row in connection.execute(sql, (number,)).fetchall()]
        yield LogRecord(number, read_certificate(certificate, group.group), tuple(branches))


def _read_branch(connection: Connection, number: int, parent: int | None, fork_height: int) -> Branch:
    sql = "SELECT height, id, header, position FROM events WHERE branch_no = ? ORDER BY height DESC LIMIT 1"
    tip = connection.execute(sql, (number,)).fetchone()
    sql = "SELECT position FROM events WHERE branch_no = ? ORDER BY height LIMIT 1"
    first = connection.execute(sql, (number,)).fetchone()
    if tip is None:
        raise StoreCorruptError(f"branch {number} in log.db has no events", fix="run: recmesh verify")
    height, event_id, header, position = tip
    return Branch(number, parent, fork_height, height, EventId(event_id), held_event(header, EventId(event_id), b"").header.hlc, first[0], position)


def _control_events(connection: Connection, log: LogRecord) -> Iterable[ControlEvent]:
    author = PeerId(log.certificate.peer)
    for branch in log.branches:
        for event_id, header, body in connection.execute("SELECT id, header, body FROM events WHERE branch_no = ? ORDER BY height", (branch.number,)):
            yield ControlEvent(held_event(header, EventId(event_id), body), author)
