"""What it means when a listener, or something in front of it, answers that it does not want us."""

import re
import time
from collections.abc import Mapping

import aiohttp

from peer.errors import CallerRefusedError, CallerUndecidedError, TransportError
from peer.transport.channel import CODE_HEADER
from peer.transport.retry_after import WAIT_STATUS, retry_after_ms

FIX = "check that the site is up and its address right"
FIXES = {
    CallerRefusedError.code: "its operator lets in only some machines of the mesh: ask for the tag or the capability, and come through the mesh",
    CallerUndecidedError.code: "nothing: it is dialled again; `recmesh network status` at that site says what is wrong with its mesh",
}
CODE_PATTERN = r"[a-z][a-z0-9_]{0,63}"


class AskedToWaitError(TransportError):
    """It answers that it is to be left alone for a while."""

    wait_ms = 0


def code_of(headers: Mapping[str, str]) -> str | None:
    """The code that the listener gave; None if this is not from a listener of ours."""
    code = headers.get(CODE_HEADER, "")
    return code if re.fullmatch(CODE_PATTERN, code) else None


def unreachable(endpoint: str, error: BaseException) -> TransportError:
    """The error that it is not to be connected to, or says nothing."""
    if isinstance(error, TimeoutError):
        reason = "no answer"
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
    else:
        reason = str(error) or type(error).__name__
    return TransportError(f"{endpoint} cannot be reached: {reason}", fix=FIX)


def refused(endpoint: str, status: int, headers: Mapping[str, str]) -> TransportError:
    """The error that this answer is, with the code that the listener gave and how long we are to wait."""
    text, code = f"{endpoint} cannot be reached: it answers {status}", code_of(headers)
    fix = FIXES.get(code or "", FIX)
    found = TransportError(text, fix=fix)
    wait_ms = retry_after_ms(headers, time.time()) if status in WAIT_STATUS else None
    if wait_ms is not None:
        found = AskedToWaitError(
            f"{text}, and asks us to wait {-(-wait_ms // 1000)} s", fix=FIXES.get(code or "", "nothing: it is dialled again then")
        )
        found.wait_ms = wait_ms
    found.code = code or found.code
    return found
