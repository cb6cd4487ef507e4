"""The city's things: containers, bays, and which device watches which."""
