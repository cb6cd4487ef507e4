"""Topics and payloads (pure), and the MQTT publisher over the outbox."""
