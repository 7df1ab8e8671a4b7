"""The sync protocol, pure: facts in, effects out. Start at `session`; `PROTOCOL.md` says what goes over the wire."""
