"""The technician's bench: finds boards, flashes, provisions, tests and labels them."""
