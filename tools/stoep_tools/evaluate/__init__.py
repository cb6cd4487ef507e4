"""``stoep evaluate``: what the production filters make of somebody's recorded series."""
