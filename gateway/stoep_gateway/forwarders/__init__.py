"""Packet forwarder protocols: sans-IO machines and thin drivers."""
