"""Calls to a hub: paced, bounded in time and size, on a connection that is checked before a secret goes over it. Imports `httpx`.

Redirects are not followed, nothing is unpacked, proxies of the environment are not used. What a hub answers is read by `hub_answers`.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from peer.core.endpoint import Endpoint, read_endpoint
from peer.errors import HubAnswerInvalidError, HubBusyError, HubKeyMismatchError, HubUnreachableError, MeshError
from resolver.hub_answers import read_json, reason_of

if TYPE_CHECKING:
    import httpx

BASE = "/api/v1"
CALL_TIMEOUT_S = 15.0
BODY_SIZE_MAX = 1024 * 1024
CALLS_PER_MINUTE_MAX = 40
"""Hubs allow 100 a minute to one address, which several sites may share."""

BUSY_S = 60.0
"""How long a hub is left alone that says that it is busy and not for how long."""

MINUTE_S = 60.0
CONNECTIONS_MAX = 2
UNAVAILABLE = 503
TOO_MANY = 429
SERVER_FAULTS = range(500, 600)
OK = range(200, 300)


class Outside(NamedTuple):
    """What the client is given from parts that it does not know."""

    spki_of: Callable[[bytes], bytes]
    """SHA-256 of the SubjectPublicKeyInfo of a certificate, DER. Raises a `MeshError` for what is none."""
    retry_after_ms: Callable[[Mapping[str, str], float], int | None]
    """How long the headers of an answer ask to be left alone, at this Unix time."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    document: object

    @property
    def is_ok(self) -> bool:
        """True if the hub did what it was asked for."""
        return self.status in OK

    @property
    def reason(self) -> str:
        """The hub's word for why it did not, or nothing."""
        return reason_of(self.document)


class HubClient:
    """One hub."""

    def __init__(self, url: str, outside: Outside) -> None:
        """`url` may pin the key that is shown there."""
        self.endpoint: Endpoint = read_endpoint(url)
        self.key = ""
        """What proves to the hub who calls; nothing for none."""
        self._outside = outside
        self._http: httpx.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None
        self._calls: deque[float] = deque(maxlen=CALLS_PER_MINUTE_MAX)
        self._quiet_until = 0.0

    @property
    def quiet_s(self) -> float:
        """How long the hub wants to be left alone."""
        return max(0.0, self._quiet_until - time.monotonic())

    async def call(self, method: str, path: str, body: object = None, *, keyed: bool = True) -> Answer:
        """One call. Raises a `ResolveError` if it comes to nothing, or the hub has trouble of its own."""
        import httpx  # noqa: PLC0415  (most peers ask nobody, and it takes 5 MB)

        await self.pace()
        headers = {"Authorization": f"Bearer {self.key}"} if keyed and self.key else {}
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                http = await self._connected()
                request = http.build_request(method, f"{self.endpoint.url}{BASE}{path}", json=body, headers=headers)
                answer = await http.send(request, stream=True)
                try:
                    data = await _read(answer)
                finally:
                    await answer.aclose()
                    http.cookies.clear()
        except TimeoutError as error:
            await self.close()
            raise HubUnreachableError("the hub does not answer in time", fix="nothing, if it comes back; else check hub_source.url") from error
        except (httpx.HTTPError, OSError) as error:
            await self.close()
            raise _unreachable(error) from error
        self._check(answer)
        return Answer(answer.status_code, read_json(data) if data else None)

    async def pace(self) -> None:
        """Wait until one more call is due. Raises `HubBusyError` while the hub wants none."""
        while True:  # Whoever waited beside us may have gone first, and the hub may have become busy.
            if self.quiet_s:
                raise HubBusyError(f"the hub wants no call for another {self.quiet_s:.0f} s", fix="nothing: it is asked again then")
            due_s = self._calls[0] + MINUTE_S if len(self._calls) == CALLS_PER_MINUTE_MAX else 0.0
            if (wait_s := due_s - time.monotonic()) <= 0.0:
                break
            await asyncio.sleep(wait_s)
        self._calls.append(time.monotonic())

    async def context(self) -> ssl.SSLContext | None:
        """With what TLS connections to the hub are made; None where it speaks plain HTTP on this machine."""
        if self.endpoint.scheme == "http":
            return None
        if self._context is None:
            self._context = ssl.create_default_context() if self.endpoint.pin is None else await self._pinned(self.endpoint.pin)
        return self._context

    async def close(self) -> None:
        """Keep no connection. The next call makes one, and looks at the certificate anew."""
        http, self._http, self._context = self._http, None, None
        if http is not None:
            await http.aclose()

    async def _connected(self) -> "httpx.AsyncClient":
        import httpx  # noqa: PLC0415  (most peers ask nobody, and it takes 5 MB)

        if self._http is None:
            context = await self.context()
            limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
            trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if context is None else context
            transport = httpx.AsyncHTTPTransport(verify=trusted, limits=limits, trust_env=False)
            headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "recmesh"}
            self._http = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, headers=headers)
        return self._http

    async def _pinned(self, pin: bytes) -> ssl.SSLContext:
        """For connections to who has the pinned key: its certificate is the only one that is trusted. Nothing is said before."""
        looking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        looking.check_hostname = False
        looking.verify_mode = ssl.CERT_NONE
        host, port = self.endpoint.host, self.endpoint.port or 443
        _, writer = await asyncio.open_connection(host, port, ssl=looking, server_hostname=host)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        try:
            matches = shown is not None and self._outside.spki_of(shown) == pin
        except MeshError:
            matches = False
        if shown is None or not matches:
            raise HubKeyMismatchError(
                "the hub shows another key than hub_source.url pins", fix="compare the pin with what the hub's operator says; nothing secret was sent"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=shown)
        return context

    def _check(self, answer: "httpx.Response") -> None:
        """Raise if the hub has trouble of its own, and remember for how long it wants to be left alone."""
        if answer.status_code in (TOO_MANY, UNAVAILABLE):
            asked_ms = self._outside.retry_after_ms(answer.headers, time.time())
            if answer.status_code == TOO_MANY or asked_ms is not None:
                wait_s = BUSY_S if asked_ms is None else asked_ms / 1000
                self._quiet_until = time.monotonic() + wait_s
                raise HubBusyError(f"the hub wants no call for {wait_s:.0f} s", fix="nothing: it is asked again then")
        if answer.status_code in SERVER_FAULTS:
            raise HubUnreachableError(f"the hub answers {answer.status_code}", fix="nothing, if that ends; else tell the hub's operator")


async def _read(answer: "httpx.Response") -> bytes:
    """The body, as far as it may be long."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise HubAnswerInvalidError("the hub's answer is packed, which it was asked not to be", fix="check hub_source.url: is that a hub?")
    data = bytearray()
    async for part in answer.aiter_raw():
        data += part
        if len(data) > BODY_SIZE_MAX:
            raise HubAnswerInvalidError(f"the hub's answer has more than {BODY_SIZE_MAX} bytes", fix="check hub_source.url: is that a hub?")
    return bytes(data)


def _unreachable(error: BaseException) -> HubUnreachableError | HubKeyMismatchError:
    """Without what the error itself says: that may be anything."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return HubKeyMismatchError(
                f"the hub's certificate cannot be verified: {cause.verify_message}",
                fix="check hub_source.url; a key of its own is pinned with #spki=",
            )
        cause = cause.__cause__ or cause.__context__
    return HubUnreachableError(f"the hub cannot be reached: {type(error).__name__}", fix="check that it is up, and hub_source.url")
