"""Emptyings as they were told: joined, held against the plans, imported and listed."""
