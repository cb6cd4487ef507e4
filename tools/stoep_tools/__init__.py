"""The technician's command, and the stoep command itself."""
