"""The LoRaWAN network server: deduplicate, sessions, join, uplink, downlink."""
