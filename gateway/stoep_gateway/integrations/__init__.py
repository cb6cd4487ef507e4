"""Other network servers as sources of uplinks and sinks of downlinks."""
