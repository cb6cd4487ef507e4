"""What both ends agree on: payloads and LoRaWAN frames. Imports nothing but struct and binascii."""
