"""Storage on the board: records in the file system."""

import os


class Files:
    """Named records in the file system, replaced whole or not at all (littlefs renames so)."""

    def read(self, name: str) -> "bytes | None":
        """Return the record, or None if there is none."""
        try:
            with open(name, "rb") as file:
                data: bytes = file.read()
        except OSError:
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace the record; it is durable when this returns."""
        with open(name + ".new", "wb") as file:
            file.write(data)
        os.rename(name + ".new", name)
