"""Keeping what was received as long as it should be, and no longer; copies, and ways out."""
