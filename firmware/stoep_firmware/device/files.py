"""Storage on the board: records in the file system, which is littlefs."""


class Files:
    """Named records in the file system, replaced whole or not at all.

    littlefs writes what is new beside what is old and changes over when the file is closed, with
    one commit; a second name and a rename would cost more erases and gain nothing.
    """

    def read(self, name: str) -> "bytes | None":
        """Return the record, or None if there is none."""
        try:
            with open(name, "rb") as file:
                data: bytes = file.read()
        except OSError:
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace the record; it is durable when this returns.

        Raises `OSError` as the file system does, ENOSPC (28) if it is full; the record is then as
        it was.
        """
        with open(name, "wb") as file:
            file.write(data)
