"""Uplinks of other makes: their codecs in a process of their own, mapped onto our readings."""
