"""The gateway's filter over somebody's recorded series, and how well it did."""
