"""From events to what people see: recordings, chunks, tags, manifests, and the readable tree. All of it can be deleted and computed again."""
