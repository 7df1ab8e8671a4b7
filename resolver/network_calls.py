"""Calls to a coordination server: bounded in time and size, with a secret that goes nowhere else. Imports `httpx`.

Redirects are not followed, proxies of the environment are not used. No secret stands in an error, whatever the server answers.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from peer.errors import NetworkProviderError, NetworkRefusedError, NetworkUnreachableError, PolicyTextError
from resolver.json_fields import Fields, as_line, text_of

if TYPE_CHECKING:
    import httpx

CALL_TIMEOUT_S = 20.0
BODY_SIZE_MAX = 16 * 1024 * 1024
REASON_MAX = 300
HIDDEN = "[hidden]"
SECRET = re.compile(r"[!-~]{1,4096}")
OK = range(200, 300)
UNAUTHORIZED = (401, 403)


class Asked(NamedTuple):
    """What to ask, with one of three kinds of body or none."""

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: object = None
    """Sent as JSON."""
    text: str | None = None
    """Sent as it is."""
    form: Mapping[str, str] | None = None
    secret: str = ""
    """What in the body is one."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    data: bytes

    @property
    def text(self) -> str:
        """The body, whatever it is, for people."""
        return self.data.decode(errors="replace")

    def document(self) -> Fields:
        """The body as an object. Raises `NetworkProviderError`."""
        try:
            document = json.loads(self.data) if self.data.strip() else {}
        except (ValueError, RecursionError) as error:
            raise NetworkProviderError("the coordination server's answer is no JSON", fix="check network.url: is that its API?") from error
        if not isinstance(document, dict):
            raise NetworkProviderError("the coordination server's answer is no object", fix="check network.url: is that its API?")
        return document


class Calls:
    """One server, and what it wants to see of whoever calls."""

    def __init__(self, url: str) -> None:
        """`url` is that of the server, without a path of its API."""
        import httpx  # noqa: PLC0415  (most peers ask nobody, and it takes 5 MB)

        self._url = url.rstrip("/")
        self._shown: set[str] = set()
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=not url.startswith("http://")),
            follow_redirects=False,
            timeout=CALL_TIMEOUT_S,
            headers={"User-Agent": "recmesh", "Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Keep no connection."""
        await self._http.aclose()

    def words(self, reason: str) -> str:
        """What the server says, as a line for people: without the secrets that it was shown, should it repeat them."""
        for secret in self._shown:
            reason = reason.replace(secret, HIDDEN).replace(quote(secret, safe=""), HIDDEN)
        return as_line(reason, REASON_MAX).strip()

    async def call(self, asked: Asked, secret: str) -> Answer:
        """One call. Raises `NetworkUnreachableError` or `NetworkProviderError`."""
        import httpx  # noqa: PLC0415  (most peers ask nobody, and it takes 5 MB)

        self._shown |= {each for each in (secret, asked.secret) if each}
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {secret}"} if secret else {}), **asked.headers}
        content = None if asked.text is None else asked.text.encode()
        form = None if asked.form is None else dict(asked.form)
        request = self._http.build_request(asked.method, self._url + asked.path, headers=headers, json=asked.body, content=content, data=form)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer = await self._http.send(request, stream=True)
                try:
                    data = await _read(answer)
                finally:
                    await answer.aclose()
                    self._http.cookies.clear()
        except (TimeoutError, httpx.TimeoutException) as error:
            raise NetworkUnreachableError("the coordination server does not answer in time", fix="try again; else check network.url") from error
        except (httpx.HTTPError, OSError) as error:
            raise NetworkUnreachableError("the coordination server cannot be reached", fix="check network.url and the connection") from error
        return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, data)


def refused(answer: Answer, what: str, words: str) -> NetworkProviderError:
    """Why the server did not do `what`, in its words."""
    if answer.status in UNAUTHORIZED:
        return NetworkRefusedError(
            f"the coordination server does not let this site {what}", fix="check the key, and what it may do (network.credential_file)"
        )
    return NetworkProviderError(
        f"the coordination server does not {what}: HTTP {answer.status}{f', {words}' if words else ''}", fix="see what it says"
    )


def secret_of(fields: Fields, key: str) -> str:
    """A field that is a key or a token; nothing where it could not be one."""
    value = text_of(fields, key)
    return value if SECRET.fullmatch(value) else ""


def policy_text(data: bytes) -> str:
    """A policy, which is to be written back as it came. Raises `PolicyTextError` for what would not come back."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PolicyTextError(f"the policy of the mesh is no UTF-8 at byte {error.start}", fix="mend it where the mesh is administered") from error


async def _read(answer: "httpx.Response") -> bytes:
    data = bytearray()
    async for part in answer.aiter_bytes():
        data += part
        if len(data) > BODY_SIZE_MAX:
            raise NetworkProviderError(f"the coordination server answers with more than {BODY_SIZE_MAX} bytes", fix="check network.url")
    return bytes(data)
