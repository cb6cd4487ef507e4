"""The gateway: forwarder traffic in, MQTT out, its own LoRaWAN network server between."""
