"""No secret is printed, logged, returned or stored where it does not belong: after a session full of errors everything is searched for them."""

import base64
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from peer.cli.sample import write_sample
from peer.core.access import TOKEN_PREFIX
from peer.core.group import read_invitation
from tests.end_to_end.processes import DEADLINE_S, Site, wait_until

LOGGING = {"RECMESH_LOG_LEVEL": "debug"}
SECRET_FILES = ("admin.token", "keys")


class Said(NamedTuple):
    """Something that was printed, logged, returned or stored."""

    where: str
    what: bytes


class Session:
    """Two sites, and everything that anybody says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sites = [Site(name, folder / name) for name in ("alpha", "beta")]
        self.http = httpx.Client(timeout=DEADLINE_S)
        self.said: list[Said] = []
        self.secrets: dict[str, bytes] = {}

    def run(self, site: Site, *arguments: str, status: int = 0, environment: dict[str, str] | None = None) -> str:
        """Run a command, remember what it says, and give its standard output."""
        done = site.command("--verbose", *arguments, status=status, environment=environment)
        self.said.append(Said(f"{site.name}: {arguments[:2]}", (done.stdout + done.stderr).encode()))
        return done.stdout

    def ask(self, site: Site, method: str, path: str, secret: str | None = None, **arguments: Any) -> httpx.Response:
        """Ask the admin API, remember what it says."""
        given = secret if secret is not None else (site.folder / "admin.token").read_text().strip()
        arguments.setdefault("headers", {})["Authorization"] = f"Bearer {given}"
        with self.http.stream(method, f"http://127.0.0.1:{site.admin}{path}", **arguments) as answer:
            is_endless = answer.headers.get("content-type", "").startswith("text/event-stream")
            data = next(answer.iter_bytes()) if is_endless else answer.read()
        self.said.append(Said(f"{site.name}: {method} {path[:40]}", repr(answer.headers).encode() + data))
        return answer

    def make_token(self, site: Site, name: str, tier: str) -> str:
        """A token, which is told this once, on purpose."""
        done = site.command("token", "create", name, "--tier", tier)
        self.said.append(Said(f"{site.name}: hint of token create", done.stderr.encode()))
        secret = done.stdout.strip()
        self.secrets[f"{site.name}: token {name}"] = bytes.fromhex(secret.removeprefix(TOKEN_PREFIX))
        return secret

    def learn_secrets(self) -> None:
        """All that lies in the files of secrets by now."""
        for site in self.sites:
            self.secrets[f"{site.name}: admin.token"] = bytes.fromhex((site.folder / "admin.token").read_text())
            for path in (site.folder / "keys").iterdir():
                self.secrets[f"{site.name}: {path.name}"] = bytes.fromhex(path.read_text())

    def read_files(self) -> None:
        """What the sites logged, and what lies in their directories but for the files that are there to hold secrets."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not set(SECRET_FILES) & set(path.relative_to(self.folder).parts) and path.suffix != ".mcap":
                self.said.append(Said(str(path.relative_to(self.folder)), path.read_bytes()))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    for site, form in zip(made.sites, ("text", "json"), strict=True):
        site.start({**LOGGING, "RECMESH_LOG_FORMAT": form})
    yield made
    made.http.close()
    for site in made.sites:
        if site.is_running:
            site.kill()


def forms(secret: bytes) -> set[bytes]:
    """How a secret may look."""
    texts = {
        secret.hex(),
        secret.hex().upper(),
        secret.hex(" "),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        base64.b32encode(secret).decode().rstrip("="),
        base64.b32encode(secret).decode().rstrip("=").lower(),
        repr(secret)[2:-1],
        json.dumps(list(secret)),
    }
    return {secret, *(text.encode() for text in texts)}


def test_no_secret_is_said_or_left_anywhere(session: Session, tmp_path: Path) -> None:
    alpha, beta = session.sites
    session.run(alpha, "group", "create", "lab")
    invited = alpha.command("group", "invite", "lab")
    invitation = invited.stdout.strip()
    session.said.append(Said("hint of group invite", invited.stderr.encode()))
    session.secrets["invitation"] = read_invitation(invitation).seed
    session.run(beta, "group", "join", invitation)
    write_sample(tmp_path / "a.mcap", 64 * 1024, 1)
    session.run(alpha, "recording", "add", str(tmp_path / "a.mcap"))
    wait_until(lambda: "a" in beta.recordings(), "the recording has arrived")

    tokens = {tier: session.make_token(alpha, f"{tier}-token", tier) for tier in ("viewer", "operator", "admin")}
    make_errors(session, alpha, tokens, invitation)
    session.run(alpha, "token", "revoke", "admin-token")
    assert session.ask(alpha, "GET", "/api/v1/status", tokens["admin"]).status_code == 401
    make_noise(alpha, tokens)
    ask_everything(session, alpha, beta)
    beta.kill()
    session.run(alpha, "status")
    session.run(beta, "verify")
    beta.start({**LOGGING, "RECMESH_LOG_FORMAT": "json"})
    wait_until(lambda: beta.status()["links"][0]["state"] == "up_to_date", "they meet again")
    assert [site.stop() for site in session.sites] == [0, 0]

    session.learn_secrets()
    session.read_files()
    search(session)


def make_errors(session: Session, site: Site, tokens: dict[str, str], invitation: str) -> None:
    """Everything that goes wrong with a secret in hand: refused tokens, tokens in odd places, damaged invitations."""
    viewer, admin = tokens["viewer"], tokens["admin"]
    for method, path, secret in (
        ("POST", "/api/v1/tokens", viewer),
        ("GET", f"/api/v1/status?token={admin}", admin + "x"),
        ("DELETE", f"/api/v1/tokens/{'x' * 8}", viewer),
        ("GET", "/nowhere", viewer),
        ("POST", "/api/v1/rebuild", tokens["operator"]),
    ):
        session.ask(site, method, path, secret)
    session.ask(site, "POST", "/api/v1/sync/groups/join", json={"invitation": invitation[:-1] + ("a" if invitation[-1] != "a" else "b")})
    session.ask(site, "POST", "/api/v1/sync/groups/join", json={"invitation": invitation})
    session.ask(site, "POST", "/api/v1/sync/groups/join", content=b"{" + invitation.encode(), headers={"Content-Type": "application/json"})
    session.ask(site, "GET", "/api/v1/status", headers={"Origin": "http://evil.example"})
    session.ask(site, "GET", "/api/v1/status", headers={"Host": "evil.example"})
    url = {"RECMESH_URL": f"http://127.0.0.1:{site.admin}"}
    for secret, arguments, status in ((viewer, ("token", "list"), 1), (admin + "x", ("status",), 1), (viewer, ("group", "create", "x"), 1)):
        session.run(site, *arguments, status=status, environment={**url, "RECMESH_TOKEN": secret})
    session.run(site, "status", status=3, environment={"RECMESH_URL": "http://127.0.0.1:1", "RECMESH_TOKEN": admin})
    session.run(site, "group", "join", invitation + "q", status=1)


def make_noise(site: Site, tokens: dict[str, str]) -> None:
    """Requests that no HTTP library sends, with a token in them: the server's own error handling is tried, too."""
    for head in (
        "GET /api/v1/status HTTP/9.9\r\nAuthorization: Bearer {}\r\n\r\n",
        "GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: x\r\n\r\n",
        "GET /api/v1/status HTTP/1.1\r\nHost: a\r\n Authorization: Bearer {}\r\n\r\n",
        "GET /{} HTTP/1.1\r\nHost: a\r\n" + "x: {}\r\n" * 2000 + "\r\n",
        "{} / HTTP/1.1\r\n\r\n",
        "POST /api/v1/tokens HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        for listener in (site.admin, site.listen):
            with socket.create_connection(("127.0.0.1", listener), timeout=DEADLINE_S) as connection:
                connection.sendall(head.replace("{}", tokens["operator"]).encode())
                connection.shutdown(socket.SHUT_WR)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass  # It has heard enough.


def ask_everything(session: Session, alpha: Site, beta: Site) -> None:
    """Each thing that can be looked at, over HTTP and with commands; and each read route of the description."""
    document = session.ask(alpha, "GET", "/openapi.json").json()
    there = {"id": "lab", "index": "0", "name": "viewer-token"}
    for path, operations in document["paths"].items():
        if "get" in operations:
            for name in ("lab", "a"):
                known = {**there, "id": name}
                session.ask(alpha, "GET", re.sub("{([a-z_]+)}", lambda found: known.get(found[1], "x"), path))  # noqa: B023  (called at once)
    for arguments in (("status",), ("group", "invitations", "lab"), ("events", "lab"), ("config", "show"), ("verify", "--deep")):
        session.run(beta, "--json", *arguments)
    for arguments in (("status",), ("events", "lab"), ("token", "list"), ("id",), ("recording", "show", "a")):
        session.run(alpha, *arguments)


def search(session: Session) -> None:
    """Nothing that was said holds a secret; and the search would have found one."""
    assert len(session.secrets) >= 10, sorted(session.secrets)
    assert len(session.said) > 50
    names = {each.where for each in session.said}
    for expected in (
        "alpha.log",
        "beta.log",
        "alpha/audit.log",
        "alpha/tokens.json",
        "alpha/log.db",
        "beta/log.db",
        "alpha/views.db",
        "alpha/config.toml",
    ):
        assert expected in names, expected
    found = [
        f"{name} in {each.where}" for name, secret in session.secrets.items() for form in forms(secret) for each in session.said if form in each.what
    ]
    assert not found
    for name, secret in session.secrets.items():
        planted = Said("planted", b"..." + secret.hex().encode() + b"...")
        assert any(form in planted.what for form in forms(secret)), name
    audit = [json.loads(line) for each in session.said if each.where == "alpha/audit.log" for line in each.what.splitlines()]
    assert {"admin.token", "viewer-token", "operator-token", None} <= {line["token"] for line in audit if "token" in line}
    assert os.fsencode(TOKEN_PREFIX) not in b"".join(each.what for each in session.said)
