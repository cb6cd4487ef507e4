"""Models of chips, at the level of their pins and bytes, for the real drivers to talk to."""
