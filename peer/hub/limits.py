"""How much a hub holds and lets others do: each number is in the table of `docs/security.md`, with the test that reaches it."""

REQUESTS_PER_MINUTE = 240
"""Of one agent."""

REFUSED_PER_MINUTE = 20
"""Requests of one address without a valid key. Valid ones from there are not held up by them."""

NAMES_COUNTED_MAX = 2048
"""Agents or addresses whose requests are counted; the one that came first is forgotten first."""

AGENTS_MAX = 1024
HIVES_MAX = 256
HIVES_PER_AGENT_MAX = 16
"""That one agent made."""

SWARMS_MAX = 1024
SWARMS_PER_AGENT_MAX = 8
HIVES_PER_SWARM_MAX = 64
KEYS_MAX = 256
"""Pre-auth keys; those that let nobody in any more make room."""

USES_MAX = 1000
KEY_HOURS_MAX = 8760
"""How long a pre-auth key may be good for: a year."""

BODY_SIZE_MAX = 32 * 1024
DOCUMENT_SIZE_MAX = 8 * 1024
"""Metadata of a swarm, settings of a hive, as JSON."""

SECRET_CHARACTERS_MAX = 256
LIST_MAX = 200
LIST_DEFAULT = 50

SOCKETS_MAX = 96
"""WebSockets: links of peers need room at the same door."""

SOCKETS_PER_AGENT_MAX = 4
CHANNELS_MAX = 64
"""That one socket has subscribed to."""

FRAME_SIZE_MAX = 16 * 1024
FRAMES_PER_MINUTE = 120
FRAMES_WAITING_MAX = 256
"""For a socket that does not read; more of them end it."""

PING_TIMEOUT_S = 60.0
"""A socket whose client sends no `ping` in JSON for so long is ended, as clients of hubs expect."""

PING_INTERVAL_S = 30.0
