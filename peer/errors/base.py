"""The trunk of the error tree: one class for each answer to the question who has to act."""


class MeshError(Exception):
    """Anything that this project raises on purpose."""

    code = "mesh_error"

    def __init__(self, text: str, *, fix: str = "") -> None:
        """`text` says what and why in one line, `fix` what to do about it."""
        super().__init__(text)
        self.text = text
        self.fix = fix


class ConfigError(MeshError):
    """The operator has to change something: print one line, exit 2."""

    code = "config_invalid"


class RequestError(MeshError):
    """What a person or program asked for cannot be done as asked: HTTP 4xx, exit 1."""

    code = "request_invalid"
    status = 400


class VerifyFailedError(MeshError):
    """What is stored here is not what it should be: each problem is listed."""

    code = "verify_failed"


class DemoFailedError(MeshError):
    """The demonstration did not show what it should: a bug, or a machine without what it takes."""

    code = "demo_failed"


class EventRejectedError(MeshError):
    """The event is bad: do not store it; the session goes on."""

    code = "event_rejected"


class LocalProtocolError(MeshError):
    """We broke our own protocol: a bug. Crash and fix."""

    code = "local_protocol"


class RemoteProtocolError(MeshError):
    """They broke the protocol: close the link, saying why."""

    code = "protocol_violation"


class TransportError(MeshError):
    """Nobody's fault: back off and retry."""

    code = "unreachable"


class ResolveError(MeshError):
    """A source of peer addresses does not answer: back off and retry."""

    code = "resolve_failed"


class StoreError(MeshError):
    """The disk: stop the node."""

    code = "store_failed"
