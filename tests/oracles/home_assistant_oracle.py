"""Run under a Python that has Home Assistant: what it makes of discovery and state messages.

stdin: {"discovery": {topic: message}, "states": {topic: message}}; stdout: {"version": "…",
"entities": {entity id: its value}, "availability": [{"topic": …, "value": …}]}. Exit 1, with the
reason on stderr, for a message that its schemas refuse or an option that they do not know.
"""

import asyncio
import json
import re
import sys

import voluptuous
from homeassistant.components.mqtt import binary_sensor, sensor
from homeassistant.components.mqtt.discovery import (
    TOPIC_MATCHER,
    MQTTDiscoveryPayload,
    _merge_common_device_options,
)
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers.template import Template

SCHEMAS = {"sensor": sensor.DISCOVERY_SCHEMA, "binary_sensor": binary_sensor.DISCOVERY_SCHEMA}
# Ours beside the schema: a discovery schema drops what it does not know without a word.
READ_ELSEWHERE = {"platform"} | (
    {"default_entity_id"} if tuple(map(int, __version__.split(".")[:2])) < (2025, 10) else set()
)


def rendered(hass, template, message):
    template = Template(template.template, hass)
    return template.async_render_with_possible_json_value(json.dumps(message), "error")


async def main():
    hass = HomeAssistant(".")
    order = json.load(sys.stdin)
    states = order["states"]
    entities = {}
    availability = {}
    for topic, message in order["discovery"].items():
        match = TOPIC_MATCHER.fullmatch(topic.removeprefix("homeassistant/"))
        if match is None or match["component"] != "device":
            raise ValueError(f"no discovery topic: {topic}")
        DEVICE_DISCOVERY_SCHEMA(message)
        for component in message["components"].values():
            merged = MQTTDiscoveryPayload(component)
            merged |= {key: message[key] for key in ("device", "origin", "qos")}
            _merge_common_device_options(merged, message)
            taken = SCHEMAS[component["platform"]](dict(merged))
            if unknown := set(merged) - set(taken) - READ_ELSEWHERE:
                raise ValueError(f"{topic}: options that Home Assistant does not know: {unknown}")
            state = states.get(taken["state_topic"])
            if state is not None:
                value = rendered(hass, taken["value_template"], state)
                if re.fullmatch("error", value):
                    raise ValueError(f"{topic}: {component['value_template']} fails on {state}")
                entities[component["default_entity_id"]] = value
                if "json_attributes_template" in taken:
                    json.loads(rendered(hass, taken["json_attributes_template"], state))
            for it in taken["availability"]:
                if it["topic"] in states:
                    value = rendered(hass, it["value_template"], states[it["topic"]])
                    availability[it["topic"]] = value
    told = [{"topic": topic, "value": value} for topic, value in availability.items()]
    print(json.dumps({"version": __version__, "entities": entities, "availability": told}))


try:
    asyncio.run(main())
except (voluptuous.Invalid, ValueError) as error:
    sys.exit(f"refused: {error}")
