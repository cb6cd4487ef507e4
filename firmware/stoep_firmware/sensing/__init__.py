"""Samples to readings: pure, integer arithmetic."""
