"""What ``/health`` says. Pure.

Failing is what a restart may help: the writer is stuck, or a forwarder's port is closed. Whatever
others have to mend, a broker that is away for instance, leaves the gateway degraded and up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["PATIENCE_S", "Condition", "Health", "judge"]

PATIENCE_S = 5.0  # in which a record has to pass the writer


@dataclass(frozen=True, slots=True)
class Condition:
    """How the parts are.

    ``writer_ms`` is how long a record took to the writer and back, None: longer than
    ``PATIENCE_S``. ``listening`` are the forwarders' protocols, ``gateways`` the registered ones
    and whether they are online, ``sources`` other networks' brokers and whether they are there;
    ``clock``: the time is known.
    """

    writer_ms: float | None
    listening: Mapping[str, bool]
    broker: bool
    clock: bool = True
    waiting_messages: int = 0
    sources: Mapping[str, bool] = field(default_factory=dict)
    gateways: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """``parts`` are in JSON's types."""

    status: Literal["ok", "degraded", "failing"]
    parts: Mapping[str, Mapping[str, object]]

    @property
    def code(self) -> int:
        """The status of the HTTP response."""
        return 503 if self.status == "failing" else 200


def judge(condition: Condition) -> Health:
    """Tell whether the gateway works, and which part does not."""
    late = condition.writer_ms is None
    parts: dict[str, dict[str, object]] = {
        "writer": {
            "ok": not late,
            "ms": None if condition.writer_ms is None else round(condition.writer_ms, 1),
        }
    }
    for protocol, is_open in condition.listening.items():
        parts[protocol] = {"ok": is_open}
    failing = not all(part["ok"] for part in parts.values())
    parts["clock"] = {"ok": condition.clock}
    parts["broker"] = {"ok": condition.broker, "waiting_messages": condition.waiting_messages}
    for source, connected in condition.sources.items():
        parts[f"source {source}"] = {"ok": connected}
    away = sorted(name for name, online in condition.gateways.items() if not online)
    parts["gateways"] = {
        "ok": not away,
        "online": len(condition.gateways) - len(away),
        "offline": away,
    }
    if failing:
        return Health("failing", parts)
    return Health("ok" if all(part["ok"] for part in parts.values()) else "degraded", parts)
