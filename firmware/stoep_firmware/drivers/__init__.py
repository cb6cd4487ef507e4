"""Sensors over injected buses and pins."""
