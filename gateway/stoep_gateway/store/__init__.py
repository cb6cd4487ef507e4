"""SQLite: sessions, messages, outbox, in one durable transaction."""
