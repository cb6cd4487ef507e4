"""LoRa transceivers over an injected SPI bus and pins."""
