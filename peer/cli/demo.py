"""`recmesh demo`: shows, with real processes on this machine, that a recording gets from one site to another that it never meets.

A and C let nobody in, as behind firewalls; both dial B, which invited them. B is killed in the middle of fetching what A recorded, while A and C go
on recording. B comes back, and everybody ends with the same. Everything is waited for, nothing is slept for, and only processes that were started
here are ended here.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.demo_site import DemoSite, started
from peer.cli.output import hint, line, print_json, short, size, table
from peer.cli.sample import write_sample
from peer.errors import DemoFailedError, FileUnreadableError

GROUP = "demo"
SAMPLE_SIZE = 24 * 1024 * 1024
SMALL_SIZE = 256 * 1024
PIECE_SIZE = 1024 * 1024
LIMIT_S = 55.0
POLL_S = 0.05
SAMPLE_START_NS = 1_790_000_000 * 10**9


def add_commands(app: typer.Typer) -> None:
    """Put the command of this file into `app`."""
    app.command("demo")(demo)


def demo(
    recording: Annotated[
        Path | None, typer.Option("--recording", metavar="FILE.mcap", help="Share this recording instead of one written for the purpose.")
    ] = None,
) -> None:
    """Show three sites sharing a recording, on this machine, in a temporary directory."""
    if recording is not None and not recording.is_file():
        raise FileUnreadableError(f"{recording} does not exist or is no file", fix="name an MCAP file")
    folder = Path(tempfile.mkdtemp(prefix="recmesh-demo-"))
    try:
        result = _Demo(folder, recording).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.current.json:
        print_json(result)


class _Demo:
    """One run."""

    def __init__(self, folder: Path, recording: Path | None) -> None:
        self._folder = folder
        self._given = recording
        self._begun = time.monotonic()

    def run(self) -> dict[str, Any]:
        first = self._first_recording()
        pieces = max(1, first.stat().st_size // PIECE_SIZE)
        killed_after = max(1, min(8, pieces // 2))
        with (
            started(self._folder, "a", hidden=True) as a,
            started(self._folder, "c", hidden=True) as c,
            started(self._folder, "b", dies_at=f"fetch.after_piece:{killed_after}") as b,
        ):
            self._say("three peers run, each a process of its own: nobody can dial A or C, and both dial B")
            self._meet(b, a, c)
            added = a.client().post("/api/v1/recordings", {"paths": [str(first)], "name": "first"}, patient=True)
            contents = f"{added['message_count']} messages, {size(added['size_bytes'])}, manifest {short(added['manifest_id'])}"
            self._say(f"A recorded '{added['name']}': {contents}")
            b.wait_until_killed(self._left_s())
            self._say(f"B was killed with SIGKILL in the middle of fetching it, after {killed_after} of {pieces} pieces")
            self._apart(a, c)
            with b.restarted():
                self._say("B is back")
                result = self._converge((a, b, c), ("first", "second", "third"))
                self._check_bytes(c, first)
            for site in (a, c):
                site.stop()
        self._say("all peers stopped cleanly")
        return {**result, "seconds": round(time.monotonic() - self._begun, 1)}

    def _first_recording(self) -> Path:
        if self._given is not None:
            return self._given.absolute()
        path = self._folder / "first.mcap"
        write_sample(path, SAMPLE_SIZE, SAMPLE_START_NS)
        return path

    def _meet(self, b: DemoSite, a: DemoSite, c: DemoSite) -> None:
        """B invites both."""
        b.client().post("/api/v1/sync/groups", {"name": GROUP})
        for joiner in (a, c):
            made = b.client().post(f"/api/v1/sync/groups/{GROUP}/invitations", {"role": "writer"})
            joined = joiner.client().post("/api/v1/sync/groups/join", {"invitation": made["invitation"], "timeout_ms": int(self._left_s() * 1000)})
            self._say(f"{joiner.label} joined the group of {b.label} as {joined['role']}: {joined['events']} events came with it")
        self._check_apart(a, c)

    def _apart(self, a: DemoSite, c: DemoSite) -> None:
        """Without B, A and C go on by themselves."""
        for site, name in ((a, "second"), (c, "third")):
            path = self._folder / f"{name}.mcap"
            write_sample(path, SMALL_SIZE, SAMPLE_START_NS)
            site.client().post("/api/v1/recordings", {"paths": [str(path)], "name": name}, patient=True)
        names = {site.label: [each["name"] for each in site.recordings()] for site in (a, c)}
        if "third" in names["A"] or "second" in names["C"]:
            raise DemoFailedError("A and C met while B was down", fix="report this")
        self._say(f"meanwhile A has {_list(names['A'])}, C has {_list(names['C'])}")
        self._check_apart(a, c)

    def _converge(self, sites: Sequence[DemoSite], names: Sequence[str]) -> dict[str, Any]:
        def arrived() -> bool:
            return all({each["name"] for each in site.recordings() if each["state"] == "local"} == set(names) for site in sites)

        self._wait(arrived, "not everything arrived everywhere")
        self._wait(lambda: len({site.digest(GROUP) for site in sites}) == 1, "the sites do not agree")
        self._check_apart(sites[0], sites[-1])
        self._say("everything is everywhere; A and C still never met")
        rows = {site.label: {each["name"]: each["manifest_id"] for each in site.recordings()} for site in sites}
        for site in sites:
            verified = site.client().post("/api/v1/verify", {"deep": True}, patient=True)
            if not verified["ok"]:
                raise DemoFailedError(f"verify finds problems at {site.label}: {verified['problems'][0]['what']}", fix="report this")
        if not options.current.json:
            table(
                ["site", "state digest", *(f"manifest of {name}" for name in names), "verify"],
                [[site.label, short(site.digest(GROUP)), *(short(rows[site.label][name]) for name in names), "ok"] for site in sites],
                empty="",
            )
        if len({tuple(sorted(manifests.items())) for manifests in rows.values()}) != 1:
            raise DemoFailedError("the manifests differ", fix="report this")
        return {"ok": True, "state_digest": sites[0].digest(GROUP), "manifests": rows["A"], "killed": "B"}

    def _check_bytes(self, site: DemoSite, original: Path) -> None:
        arrived = hashlib.sha256(site.client().get_bytes("/api/v1/recordings/first/chunks/0", "application/octet-stream")).hexdigest()
        if arrived != hashlib.sha256(original.read_bytes()).hexdigest():
            raise DemoFailedError(f"the bytes at {site.label} are not those that were recorded", fix="report this")
        self._say(f"the file at {site.label} is byte for byte the one recorded at A")

    def _check_apart(self, a: DemoSite, c: DemoSite) -> None:
        """C neither knows an address of A nor has a link to it, and the other way round."""
        for one, other in ((a, c), (c, a)):
            known = next((each for each in one.client().get("/api/v1/sync/peers") if each["peer_id"] == other.peer_id), None)
            links = one.client().get("/api/v1/status")["links"]
            linked = any(link["peer_id"] == other.peer_id and link["route"] == "direct" for link in links)
            if linked or (known is not None and known["endpoints"]):
                raise DemoFailedError(f"{one.label} met {other.label}", fix="report this")

    def _wait(self, condition: Callable[[], bool], problem: str) -> None:
        while not condition():
            if self._left_s() <= 0:
                raise DemoFailedError(f"{problem} within {LIMIT_S:g} s", fix="try again when the machine has less to do")
            time.sleep(POLL_S)

    def _left_s(self) -> float:
        return LIMIT_S - (time.monotonic() - self._begun)

    def _say(self, text: str) -> None:
        message = f"{time.monotonic() - self._begun:5.1f} s  {text}"
        if options.current.json:
            hint(message)
        elif not options.current.quiet:
            line(message)


def _list(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(names))
