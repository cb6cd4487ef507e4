"""Which containers to empty, in what order, and why."""
