"""An MCAP file with messages of others, made while they come: what can be passed on at once leaves, only indexes stay until the end."""

from typing import IO, cast

from mcap.writer import CompressionType, Writer

from materializer.mcap_messages import Message
from materializer.mcap_records import ChannelFacts, SchemaFacts

CHUNK_SIZE = 1024 * 1024
ROS_ENCODING = "cdr"
ROS_PROFILE = "ros2"


class Extract:
    """One such file. Channels that agree in all are one, whichever files they come from."""

    def __init__(self, library: str) -> None:
        """`library` is what the file says that it was written by."""
        self._library = library
        self._sink = _Sink()
        self._writer = Writer(cast("IO[bytes]", self._sink), chunk_size=CHUNK_SIZE, compression=CompressionType.ZSTD)
        self._begun = False
        self._schemas: dict[SchemaFacts | None, int] = {None: 0}
        self._channels: dict[tuple[object, ...], int] = {}

    def add(self, messages: list[Message]) -> bytes:
        """What the file has more, with these messages after those before."""
        self._begin(messages)
        for message in messages:
            self._writer.add_message(self._channel(message.channel), message.log_ns, message.data, message.publish_ns, message.sequence)
        return self._sink.take()

    def finish(self) -> bytes:
        """Its end."""
        self._begin([])
        self._writer.finish()  # type: ignore[no-untyped-call]
        return self._sink.take()

    def _begin(self, messages: list[Message]) -> None:
        """As a file of ROS if the first messages are: those who read them ask for no more."""
        if not self._begun:
            is_ros = any(message.channel.message_encoding == ROS_ENCODING for message in messages)
            self._writer.start(profile=ROS_PROFILE if is_ros else "", library=self._library)
            self._begun = True

    def _channel(self, facts: ChannelFacts) -> int:
        key = (facts.topic, facts.message_encoding, tuple(sorted(facts.metadata.items())), facts.schema)
        if key not in self._channels:
            self._channels[key] = self._writer.register_channel(facts.topic, facts.message_encoding, self._schema(facts.schema), dict(facts.metadata))
        return self._channels[key]

    def _schema(self, facts: SchemaFacts | None) -> int:
        if facts not in self._schemas:
            assert facts is not None
            self._schemas[facts] = self._writer.register_schema(facts.name, facts.encoding, facts.data)
        return self._schemas[facts]


class _Sink:
    """Of a file what the library's writer needs: gathers what is written until somebody takes it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        data, self._parts = b"".join(self._parts), []
        return data
