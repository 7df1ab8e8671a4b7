"""A proxy that ends TLS: takes connections with a certificate of its own and passes on what is inside, byte by byte."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from peer.transport.tls import client_context

BLOCK_SIZE = 64 * 1024


class OperatorFiles(NamedTuple):
    """A certificate as an operator has it."""

    certificate: Path
    key: Path
    spki: bytes
    """SHA-256 of its SubjectPublicKeyInfo, computed here."""


def make_certificate(folder: Path, name: str = "proxy", *, kind: str = "ec", passphrase: bytes = b"") -> OperatorFiles:
    """A self-signed one, with a key that only its owner may read."""
    folder.mkdir(exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.example.org")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(builder.sign(private, SHA256()).public_bytes(Encoding.PEM))
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key.touch(0o600)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return OperatorFiles(certificate, key, hashlib.sha256(spki).digest())


@dataclass
class Proxy:
    """One that runs."""

    port: int = 0
    connections: int = 0
    passed_in: int = 0
    """Bytes that went to the listener."""

    @property
    def url(self) -> str:
        """Where it is dialled."""
        return f"https://127.0.0.1:{self.port}"

    def pinned(self, spki: bytes) -> str:
        """The same, with a key that is to be shown there."""
        return f"{self.url}#spki={spki.hex()}"


@contextlib.asynccontextmanager
async def ending_tls(files: OperatorFiles, port: int = 0) -> AsyncIterator[tuple[Proxy, list[str]]]:
    """A proxy, and a list to put the endpoint of the listener behind it into: `http://` as it is, `https://` with TLS once more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    proxy, behind = Proxy(), list[str]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.connections += 1
        scheme, _, address = behind[0].partition("://")
        host, _, inner_port = address.partition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(inner_port), ssl=client_context() if scheme == "https" else None)
        try:
            await asyncio.gather(_pass(reader, inner_writer, proxy), _pass(inner_reader, writer, None))
        finally:
            for each in (writer, inner_writer):
                each.close()

    tasks = set[asyncio.Task[None]]()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.gather(task, return_exceptions=True)

    server = await asyncio.start_server(guarded, "127.0.0.1", port, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, behind
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Proxy | None) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(BLOCK_SIZE):
            if count is not None:
                count.passed_in += len(data)
            writer.write(data)
            await writer.drain()
    writer.close()
