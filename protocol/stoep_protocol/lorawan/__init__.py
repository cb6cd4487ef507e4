"""LoRaWAN 1.0.x frames, cryptography over an injected AES block, MAC commands, regions, airtime."""
