"""Every limit of the protocol, by name. What exceeds one is refused with the code `limit_exceeded` or `credit_exceeded`."""

PROTOCOL_VERSIONS = (1, 2, 3)

FRAME_SIZE_MAX = 1024 * 1024
BLOB_PART_SIZE_MAX = 256 * 1024
BLOB_READS_MAX = 32
"""Parts of blobs that one side may ask for at once."""
PROOFS_MAX = 16
"""Proofs of possession that one question asks for: each takes the reading of a piece."""
PROOF_QUESTIONS_MAX = 4
"""Such questions that one side may ask at once."""
PROOFS_PER_MINUTE_MAX = 4096
"""Proofs that one link may ask for; who asks for more is told to come later."""
ROUNDS_MAX = 256
"""Rounds of dropping in one frame."""
ROUND_FRAMES_PER_MINUTE_MAX = 600
"""Frames about rounds that one link may bring; more are passed over."""
FRAME_DEPTH_MAX = 8
CREDIT_INITIAL = 4 * 1024 * 1024
"""Bytes of `events` frames that each side may have under way before the other grants more."""
CREDIT_GRANT_MIN = 256 * 1024
PAGE_SIZE_MAX = 512 * 1024
"""Bytes of events that one read from the store brings."""
HAVE_LOGS_MAX = 1000
"""Logs in one `have` frame."""
LOGS_PER_GROUP_MAX = 20_000
GROUPS_PER_LINK_MAX = 256
TIPS_PER_LOG_MAX = 64
LOGS_PER_AUTHOR_MAX = 4000
"""Of these, logs of one author, and the tips of all logs of one author. What is more is passed over: one member that opens and forks logs without end
must not end the links of all others."""
TIPS_PER_AUTHOR_MAX = 8000
GUEST_LOGS_PER_AUTHOR_MAX = 256
"""As above, while they are a guest."""
TIPS_PER_GROUP_MAX = 40_000
"""Tips of all logs of one group that the other side may name: branches cost their author nothing."""
POSITIONS_MAX = 1024
"""Positions in one `want` frame."""
FINDS_UNDER_WAY_MAX = 16
"""Questions of one link, which events are held, that the store answers at once; the rest wait, one of each kind for a log."""
POSITIONS_WAITING_MAX = 2**18
"""Events that the waiting questions of one link may name."""
HELD_FRAMES_MAX = 1024
"""Frames that wait while a group that is being joined is opened."""
HELD_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of those."""
HAVE_SIZE_MAX = 512 * 1024
"""Bytes of one `have` frame that we send, about."""
RETELLS_MAX = 64
"""How often on a link everything is told again because they refused a group and took it up again."""
REJECTIONS_MAX = 1000
"""Logs of which the other side may announce or send what does not verify."""
TEXT_CHARACTERS_MAX = 512
RECORD_SIZE_MAX = 1024
"""Bytes of a signed peer record, and of a signed status."""
NEIGHBOURS_MAX = 64
"""Peer records, or statuses, in one frame."""
NEIGHBOURS_PER_MINUTE_MAX = 20_000
"""Of both, that one link may bring; more are passed over."""
DIGEST_TABLES_MAX = 64
"""Tables in one `digests` frame."""
DIGEST_KEY_SIZE_MAX = 64
"""Bytes of the key of a projected row."""
DIGEST_ENTRIES_MAX = 256
"""Rows, or next bytes of keys, in one `digest_part` frame: more rows are told of by next bytes."""
DIGESTS_PER_MINUTE_MAX = 20_000
"""`digests` frames that one link may bring; more are passed over."""
DIGEST_PARTS_PER_MINUTE_MAX = 120
"""`digest_want` and `digest_part` frames of the same; more are passed over."""
WANT_REPEATS_MAX = 3
"""How often in a row a log is asked for again on a link after its events did not fit."""

GUESTS_MAX = 16
"""Links at once over which somebody who is not on the roster of a group may show that it is a member."""
GUESTS_PER_ADDRESS_MAX = 4
"""Of these, from one address."""
GUEST_SILENT_MS = 5_000
"""How long a guest may bring nothing that is new here, and a former member may take to hear that it is one."""
GUEST_MS_MAX = 30_000
GUEST_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of `events` frames that a guest may send of a group."""
GUEST_LOGS_MAX = 1024
"""Control logs that a guest may announce of a group."""
GUEST_ENTRIES_MAX = 40_000
"""Logs that a guest may name in `have` frames of a group, each time counted."""
GROUPLESS_MS = 10_000
"""How long a link may stand over which no group is spoken about."""
OFFERS_MAX = 16
"""Groups that one side may offer over a link which the other does not take."""

JOIN_HOPS_MAX = 8
"""How often a request to join is passed on."""
JOINS_MAX = 256
"""Requests to join that are remembered, so that none goes round in circles."""
JOINS_WAITING_MAX = 16
"""Joiners at once that wait here for an admin elsewhere."""
JOIN_WAIT_MS = 20_000
"""How long a joiner waits for an admin elsewhere, and how long a request is remembered."""
JOIN_REPEAT_MS = 5_000
"""How often the request is passed on again meanwhile, for admins that came later."""
JOINER_WAIT_MS = 30_000
"""How long a joiner waits for the listener."""
JOIN_REQUESTS_PER_MINUTE = 30
"""Requests to join that one link may bring, and that this peer passes on for joiners of its own; more are passed over."""

HANDSHAKE_TIMEOUT_MS = 10_000
PING_INTERVAL_MS = 20_000
PINGS_MISSED_MAX = 2
PINGS_PER_INTERVAL_MAX = 64
"""Pings that the other side may send within the time after which one is due."""
SOURCE_SILENT_MS = 3_000
"""A source of a log that brings nothing for so long while another has more is replaced."""
SOURCE_IN_VAIN_MAX = 9
"""Who was asked in vain is asked again only when the next source has been silent for that time once more, each time; so often at most."""
