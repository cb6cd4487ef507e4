"""The simulated street: chips, boards, air and world that the real firmware runs in."""
