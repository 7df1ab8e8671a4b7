"""Log lines of the running peer, on standard error. The only module that imports `structlog`.

Messages are constants, what changes is a field: lines can be counted and searched. No secret is ever a field. A line that cannot
be written (the disk is full, who read the pipe is gone) is lost, and nothing else: the work that it tells of goes on.
"""

import contextlib
import logging
import sys
from typing import TextIO, cast

sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # Else `structlog` loads it for tracebacks in colour: 3 MB that stay.
import structlog  # noqa: E402  (see above)
from aiohttp.http_exceptions import HttpProcessingError  # noqa: E402
from structlog.typing import FilteringBoundLogger, Processor  # noqa: E402

if sys.modules["rich"] is None:
    del sys.modules["rich"]


def set_up_logs(level: str, form: str) -> None:
    """Write lines of at least `level` to standard error, as `text` for people or `json` for programs."""
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer())
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    # What libraries say while they are debugged shows values, whatever these are: the database's every argument of every call.
    quietest = max(logging.INFO, logging.getLevelNamesMapping()[level.upper()])
    logging.basicConfig(level=quietest, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # A line for each call: the daemon of a mesh is asked four times a minute.
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def get_log(name: str) -> FilteringBoundLogger:
    """The logger of one part of the peer."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))


class _Unfailing:
    """What `print` needs of a text stream; what cannot be written is passed over, as the standard library's own handlers do."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # The second is of a stream that was closed.
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _is_ours(record: logging.LogRecord) -> bool:
    """False for what the HTTP server says of bytes that are no request: it shows them, a token among them, and any stranger can make it say more."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
