"""Plans as files: for maps, for navigation, on paper."""
