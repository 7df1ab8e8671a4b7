"""The command line's way to the running peer: its admin API. The only module that imports `httpx`."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from peer.cli import options
from peer.errors import ConfigError, FileUnreadableError, MeshError, NoPeerError, RequestError, TimedOutError

if TYPE_CHECKING:
    import httpx

ADDRESS_FILE = "admin.address"
TOKEN_FILE = "admin.token"  # noqa: S105  (a file's name)
CONNECT_TIMEOUT_S = 5.0
WAKE_S = 1.0
Parameters = Mapping[str, str | int | list[str]]


class PeerProblemError(RequestError):
    """What the peer answered instead of a result, with its own code."""

    def __init__(self, text: str, *, fix: str, code: str, status: int) -> None:
        """The members of the problem document."""
        super().__init__(text, fix=fix)
        self.code = code
        self.status = status


class AdminClient:
    """A connection to one admin API. Loads `httpx`: making one takes time that help and completion do not have."""

    def __init__(self, url: str, token: str, where: str) -> None:
        """`where` is how to name the peer in errors."""
        import httpx  # noqa: PLC0415  (see the class)

        self._where = where
        self._patient = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            transport=httpx.HTTPTransport(verify=not url.startswith("http://")),  # Certificates take as long to load as all the rest.
            timeout=httpx.Timeout(options.current.timeout_s or options.TIMEOUT_DEFAULT_S, connect=CONNECT_TIMEOUT_S),
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, parameters: Parameters | None = None, *, patient: bool = False) -> Any:  # noqa: ANN401  (a JSON document)
        """The document at `path`. `patient` as in `post`."""
        return self._call("GET", path, parameters=parameters, patient=patient).json()

    def get_bytes(self, path: str, accept: str) -> bytes:
        """What is at `path`, in the form `accept`."""
        return self._call("GET", path, accept=accept).content

    def post(self, path: str, body: Mapping[str, object] | None = None, *, patient: bool = False) -> Any:  # noqa: ANN401  (a JSON document)
        """Send `body`; the document that comes back. A `patient` call waits for ever unless --timeout was given: large files take their time."""
        return self._call("POST", path, body=body or {}, patient=patient).json()

    def patch(self, path: str, body: Mapping[str, object]) -> Any:  # noqa: ANN401  (a JSON document)
        """Change what is at `path`; the document that comes back."""
        return self._call("PATCH", path, body=body).json()

    def delete(self, path: str, parameters: Parameters | None = None, *, patient: bool = False) -> Any:  # noqa: ANN401  (a JSON document)
        """Take away what is at `path`; the document that comes back."""
        return self._call("DELETE", path, parameters=parameters, patient=patient).json()

    def follow(self, path: str, parameters: Parameters | None = None) -> Iterator[Any]:
        """The documents of a stream of server-sent events, as they come."""
        headers = {"Accept": "text/event-stream"}
        with self._errors(), _waking(), self._http.stream("GET", path, params=parameters, headers=headers, timeout=self._patient) as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            for row in answer.iter_lines():
                if row.startswith("data:"):
                    yield json.loads(row.removeprefix("data:"))

    def stream_lines(self, path: str, parameters: Parameters | None = None) -> Iterator[str]:
        """The lines of a stream, as they come. Waits for each as long as it takes, unless --timeout was given."""
        yield from _rows(self.stream_bytes(path, parameters))

    def stream_bytes(self, path: str, parameters: Parameters | None = None) -> Iterator[bytes]:
        """A stream, as it comes; waits like `stream_lines`."""
        timeout = self._patient if options.current.timeout_s is None else self._http.timeout
        with self._errors(), _waking(), self._http.stream("GET", path, params=parameters, timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            yield from answer.iter_bytes()

    def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        body: Mapping[str, object] | None = None,
        accept: str | None = None,
        patient: bool = False,
    ) -> "httpx.Response":
        timeout = self._patient if patient and options.current.timeout_s is None else self._http.timeout
        headers = {"Accept": accept} if accept else None
        with self._errors(), _waking():
            answer = self._http.request(method, path, params=parameters, json=body, headers=headers, timeout=timeout)
        if answer.is_error:
            raise _problem(answer)
        return answer

    def _errors(self) -> "_TransportErrors":
        return _TransportErrors(self._where)


@contextlib.contextmanager
def _waking() -> Iterator[None]:
    """Let Ctrl-C end a wait for an answer: one that comes in the moment before a read begins is noted, and seen at the next interruption."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, WAKE_S, WAKE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _TransportErrors:
    """Turns what can go wrong on the way into our own errors."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import httpx  # noqa: PLC0415  (it is loaded: something was asked for)

        match error:
            case httpx.ConnectError() | httpx.ConnectTimeout():
                raise NoPeerError(f"no peer answers at {self._where}", fix="run `recmesh serve`") from error
            case httpx.TimeoutException():
                raise TimedOutError("the peer did not answer in time; the work may still be going on", fix="give it longer with --timeout") from error
            case httpx.InvalidURL() | httpx.UnsupportedProtocol():
                raise ConfigError(f"{self._where} is no URL of an admin API", fix="write --url http://HOST:PORT") from error
            case httpx.HTTPError():
                raise NoPeerError(
                    f"the peer at {self._where} broke off the connection: {type(error).__name__}", fix="see whether it still runs"
                ) from error
            case _:
                pass


def connect() -> AdminClient:
    """A client of the peer that the options name. Raises `ConfigError` or `NoPeerError`."""
    url = options.current.remote_url
    if url is not None:
        return AdminClient(url, _remote_token(), url)
    directory = options.current.existing_directory
    local = _local_url(directory)
    if local is None:
        raise NoPeerError(f"no peer runs on {directory}", fix="run `recmesh serve`")
    return AdminClient(local, _local_token(directory), f"{local} (data directory {directory})")


def connect_if_running() -> AdminClient | None:
    """A client of the peer that runs on the data directory, None if none does, for work that can be done without it."""
    if options.current.remote_url is not None:
        return connect()
    directory = options.current.existing_directory
    local = _local_url(directory)
    if local is None:
        return None
    client = AdminClient(local, _local_token(directory), local)
    try:
        client.get("/health/live")
    except NoPeerError:
        return None
    except MeshError:
        return client
    return client


def _local_url(directory: Path) -> str | None:
    try:
        return "http://" + (directory / ADDRESS_FILE).read_text().strip()
    except FileNotFoundError:
        return None


def _local_token(directory: Path) -> str:
    return _read_token(options.current.token_file or directory / TOKEN_FILE)


def _remote_token() -> str:
    if options.current.token_file is not None:
        return _read_token(options.current.token_file)
    token = os.environ.get("RECMESH_TOKEN")
    if not token:
        raise ConfigError("--url needs a token", fix="name its file with --token-file, or set RECMESH_TOKEN")
    return token


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise FileUnreadableError(f"{path}: the token cannot be read: {error.strerror}", fix="check the path and its permissions") from error


def _rows(parts: Iterator[bytes]) -> Iterator[str]:
    """Lines that end with a newline, and with nothing else that might end one."""
    waiting: list[bytes] = []
    for part in parts:
        *ended, rest = part.split(b"\n")
        for end in ended:
            yield b"".join([*waiting, end]).decode()
            waiting = []
        waiting.append(rest)


def stream_problem(document: Mapping[str, object]) -> PeerProblemError:
    """The error that a stream ended with."""
    return PeerProblemError(str(document["detail"]), fix=str(document["fix"]), code=str(document["code"]), status=200)


def _problem(answer: "httpx.Response") -> PeerProblemError:
    try:
        document = answer.json()
        return PeerProblemError(str(document["detail"]), fix=str(document.get("fix", "")), code=str(document["code"]), status=answer.status_code)
    except (ValueError, KeyError, TypeError):
        return PeerProblemError(
            f"{answer.request.url} answered {answer.status_code} and no problem document",
            fix="see whether that is the admin API of a recmesh peer",
            code="not_an_admin_api",
            status=answer.status_code,
        )
