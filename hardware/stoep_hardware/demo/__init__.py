"""``stoep demo``: a simulated street, a real gateway, an MQTT broker, and what they say."""
