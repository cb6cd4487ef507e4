"""JSN-SR04T: an HC-SR04 with one waterproof transducer for both ways, which has to stop ringing.

It is blind up to 25 cm (V1 and V2; V3 up to 20), and says so much of what is nearer: 27 cm where
the air is taken for warmer than it is.
"""

from stoep_firmware.drivers.hcsr04 import sample

__all__ = ("FARTHEST_MM", "NEAREST_MM", "SUPPLY_UA", "sample")

NEAREST_MM = 271
FARTHEST_MM = 4500
SUPPLY_UA = 30000
