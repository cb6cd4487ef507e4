"""The exceptions of the protocol, shared by device and gateway.

    ValueError
      PayloadError              root: a value that is no valid message, or bytes that are none
        DecodeError(code)       the bytes came from outside and are not acceptable
        EncodeError             we were asked to encode something the format cannot carry

`DecodeError.code` is one of the constants below: short, stable, fit to be a metric label.
"""

TRUNCATED = "truncated"  # fewer bytes than the format needs
TRAILING = "trailing"  # bytes left over after a complete value
LENGTH = "length"  # a length that the format does not know
RANGE = "range"  # a value outside its range
RESERVED = "reserved"  # a bit, type or number that is reserved (RFU)
VERSION = "version"  # a major version that this code does not speak
NOT_CANONICAL = "not-canonical"  # a second spelling of a value that has one canonical form
TYPE = "type"  # a value of the wrong kind
F_PORT = "f-port"  # a port that carries nothing known, or that its context forbids
MIC = "mic"  # the message integrity code does not match


class PayloadError(ValueError):
    """Root of everything that can be wrong with a message."""


class DecodeError(PayloadError):
    """Bytes from outside that are not a valid message.

    `code` is one of this module's constants; `detail` is for people and may be empty.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + ": " + detail if detail else code)
        self.code = code
        self.detail = detail


class EncodeError(PayloadError):
    """A value that the format cannot carry: a mistake of the caller."""
