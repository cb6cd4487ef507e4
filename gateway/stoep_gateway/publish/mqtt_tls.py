"""TLS to a broker: what to trust, what to show, and what to say when it fails."""

from __future__ import annotations

import ssl
from pathlib import Path

from stoep_gateway.config_model import MqttConfig
from stoep_gateway.errors import FatalError

__all__ = ["ClientTls", "context", "remedy", "tls"]

# X509_V_ERR_... of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = (2, 7, 18, 19, 20, 21)  # 7: it has the name of one that is known
_OTHER_NAME = (62, 64)

_ALERTS_WITHOUT = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_ALERTS_REFUSED = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_", "ACCESS_DENIED")


class ClientTls(ssl.SSLContext):
    """``alert`` is what ended the last connection: with TLS 1.3 that comes after the handshake."""

    alert: ssl.SSLError | None = None


def context(
    table: str, ca_file: Path | None, client_cert: Path | None, client_key: Path | None
) -> ClientTls:
    """Return what to connect with; without ``ca_file`` the system's authorities are trusted.

    Raises ``FatalError``, with ``table`` of the configuration, for files that cannot be used.
    """
    try:
        made = ClientTls(ssl.PROTOCOL_TLS_CLIENT)
        made.sslsocket_class = _Socket
        if ca_file is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise FatalError(f"{table}: ca_file {ca_file}: {error}") from error
    if client_cert is not None:
        try:
            # OpenSSL would ask a terminal for the password of an encrypted key.
            made.load_cert_chain(client_cert, client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            what = "they do not belong together" if "MISMATCH" in str(error) else str(error)
            raise FatalError(
                f"{table}: client_cert {client_cert} with client_key {client_key}: {what};"
                " both are PEM, the key without a password"
            ) from error
    return made


def tls(config: MqttConfig) -> ClientTls | None:
    """Return what ``[mqtt]`` asks for. Raises ``FatalError``."""
    if not config.tls:
        return None
    return context("[mqtt]", config.ca_file, config.client_cert, config.client_key)


def remedy(error: BaseException | None, used: ClientTls, table: str) -> str | None:
    """Return in one line why TLS failed and what to do, None for what has nothing to do with it."""
    if not isinstance(error, ssl.SSLError):
        error = used.alert or error
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        if error.verify_code in _OTHER_NAME:
            return f"{said}: set host under {table} to a name in the broker's certificate"
        if error.verify_code == _EXPIRED:
            return (
                "the broker's certificate has expired: renew it there, or is this machine's clock"
                " wrong?"
            )
        if error.verify_code == _NOT_YET_VALID:
            return "the broker's certificate is not valid yet: is this machine's clock right?"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return (
                f"the broker's certificate is of an unknown authority ({said}): name its"
                f" authority's certificate in ca_file under {table}"
            )
        return f"the broker's certificate is refused: {said}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "ALERT" in reason and any(name in reason for name in _ALERTS_WITHOUT):
            return f"the broker wants a certificate: set client_cert and client_key under {table}"
        if "ALERT" in reason and any(name in reason for name in _ALERTS_REFUSED):
            said = reason.partition("ALERT_")[2].replace("_", " ").lower()
            return f"the broker refuses our client_cert ({said}): has its authority signed it?"
        if isinstance(error, ssl.SSLEOFError) or reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return f"no TLS is spoken at this port: set port under {table} to the one with TLS"
        return f"TLS failed: {reason.replace('_', ' ').lower() or error}"
    if isinstance(error, ConnectionResetError):
        return f"it ends the connection at TLS: does the port under {table} speak TLS?"
    return None


class _Socket(ssl.SSLSocket):
    """Closed when its handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if isinstance(self.context, ClientTls):
                self.context.alert = error
            raise
