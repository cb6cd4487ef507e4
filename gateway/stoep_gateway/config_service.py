"""Tables of the configuration files that tell how the gateway serves others.

What `stoep_gateway.config_model` is to readings and the network, this is to watching the gateway
and to passing on what it knows.
"""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from stoep_gateway.config_model import FilePath, Host, TableModel, Text

__all__ = [
    "HomeAssistantConfig",
    "HttpConfig",
    "NgsiLdConfig",
    "RetentionConfig",
    "TimeConfig",
    "Url",
]


def _http_url(value: str) -> str:
    try:
        url = urlsplit(value)
        is_good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # of its host or port
        is_good = False
    if not is_good or not _printable(value) or any(sign in value for sign in "?#@ "):
        raise ValueError(
            'a URL is written "https://broker.example.org:1026"; a token stands in token_file'
        )
    return value.rstrip("/")


def _header(value: str) -> str:
    if not _printable(value) or value != value.strip():
        raise ValueError("it is sent in a header: printable ASCII, without spaces around it")
    return value


def _printable(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _topic_level(value: str) -> str:
    if any(sign in value for sign in "+#\0") or value.startswith(("/", "$")) or value.endswith("/"):
        raise ValueError('a prefix is levels of a topic, such as "homeassistant"')
    return value


Url = Annotated[Text, AfterValidator(_http_url)]
Header = Annotated[Text, AfterValidator(_header)]
TopicPrefix = Annotated[Text, AfterValidator(_topic_level)]


class HttpConfig(TableModel):
    """``[http]``: where ``/metrics`` and ``/health`` are; no table, no port."""

    bind: Host = "127.0.0.1"
    port: int = Field(default=9474, ge=0, le=65535)


class HomeAssistantConfig(TableModel):
    """``[home_assistant]``: announce containers, bays, devices and gateways to Home Assistant.

    No table, no announcement.
    """

    prefix: TopicPrefix = "homeassistant"


class NgsiLdConfig(TableModel):
    """``[ngsi_ld]``: FIWARE's models of the same things; no table, none.

    As MQTT ``topics``, and to the context broker at ``url``, whose ``token_file`` holds the
    ``Authorization`` header. ``tenant`` is its NGSILD-Tenant.
    """

    topics: bool = True
    url: Url | None = None
    tenant: Header | None = None
    token_file: FilePath | None = None
    ca_file: FilePath | None = None
    batch: int = Field(default=100, ge=1, le=1000)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.url is None:
            for key in ("tenant", "token_file", "ca_file"):
                if getattr(self, key) is not None:
                    raise ValueError(f'{key} needs "url" beside it')
            if not self.topics:
                raise ValueError('needs "url", or "topics = true"')
        return self


class RetentionConfig(TableModel):
    """``[retention]``: how long uplinks are kept, by what they tell, and collections.

    When a car came and went can tell of a person: bays' are short-lived. Containers' are thinned to
    one a day after ``bin_daily_after_days``; 0 keeps all. None stays longer than ``uplinks_days``.
    """

    uplinks_days: int = Field(default=400, ge=1, le=36_500)

    bay_uplinks_h: int = Field(default=48, ge=1, le=24 * 36_500)
    bin_daily_after_days: int = Field(default=0, ge=0, le=36_500)
    device_uplinks_days: int = Field(default=90, ge=1, le=36_500)
    collections_days: int = Field(default=1100, ge=1, le=36_500)


class TimeConfig(TableModel):
    """``[time]``: what to do while this machine's clock is not synchronised.

    Messages wait ``wait_min`` for it, and are corrected; after that they go as they are. With
    ``trust_clock`` the machine's clock is taken to be right, synchronised or not.
    """

    wait_min: int = Field(default=10, ge=0, le=24 * 60)
    trust_clock: bool = False
