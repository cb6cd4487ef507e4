"""Schema v1: which fPort carries what, the ranges of every field, and the names of its codes.

The fPort is the schema and its version: a change that an old decoder would misread takes new
fPorts (20 and up are kept for version 2). docs/protocol.md explains the layout field by field.
"""

# fPorts of version 1; up: 10 11 12 14 15, down: 13.
F_PORT_BIN = 10  # the newest reading of a container, and earlier ones
F_PORT_BAY = 11  # state of a parking bay
F_PORT_STATUS = 12  # health of the device
F_PORT_CONFIGURATION = 13  # downlink: how the device shall behave
F_PORT_CONFIGURATION_ACK = 14  # what is in force
F_PORT_BIN_PAST = 15  # earlier readings of a container alone: a range that was asked for

# Reading of a container.
SEQUENCE_MODULUS = 1024  # what is sent of a sequence number; see history.full_sequence
DISTANCE_MAX_MM = 10_000
QUALITY_MAX = 4  # LwM2M object 3435, "measurement quality": 0 worst, 4 best
FLAGS_MAX = 7
ECHO_WEAK = 1  # few of the burst's pings came back
ECHO_UNSTABLE = 2  # the pings disagree
ECHO_BLOCKED = 4  # something in the dead zone, or a wet transducer
TEMPERATURE_MIN_C = -40
TEMPERATURE_MAX_C = 85
TEMPERATURE_OFFSET_C = 10  # so that -14 to 33 °C take one byte
FLAPS_MAX = 255  # and more
AGE_MAX_MIN = 65_535
HISTORY_MAX = 24

# Bay.
FREE = 0
OCCUPIED = 1
UNCERTAIN = 2
CHANGE_COUNT_MODULUS = 16_384
BAY_FLAGS_MAX = 15
FIELD_SATURATED = 1  # the magnetometer is at the end of its range
BASELINE_DRIFTED = 2  # far from what was calibrated
NOT_CALIBRATED = 4
NEIGHBOUR_SUSPECTED = 8

# Status.
FIRMWARE_MAX = (15, 63, 63)  # major, minor, patch
HARDWARE_MAX = 255
CHARGE_MAX_MAH = 65_535
BATTERY_MAX_MV = 65_535
RESET_REASON_MAX = 15
RESET_NONE = 0  # none since the last status report
RESET_POWER_ON = 1
RESET_BROWN_OUT = 2
RESET_WATCHDOG = 3
RESET_CRASH = 4
RESET_SOFT = 5
RESET_EXTERNAL = 6
CALIBRATION_MAX = 3
CALIBRATION_NONE = 0
CALIBRATION_RUNNING = 1
CALIBRATION_DONE = 2
CALIBRATION_DUE = 3
LINK_MARGIN_MIN_DB = -128
LINK_MARGIN_MAX_DB = 127
ERRORS_MAX = 16  # codes in one status report, each 0 to 255
ERROR_SENSOR_SILENT = 1
ERROR_SENSOR_BUS = 2
ERROR_RADIO = 3
ERROR_STORAGE = 4
ERROR_CLOCK = 5
ERROR_WATCHDOG = 6
ERROR_BATTERY_LOW = 7
ERROR_MEMORY = 8
ERROR_SAFE_MODE = 9
ERROR_OUTBOX_FULL = 10

# Configuration.
INTERVAL_MAX_MIN = 10_080
MODE_REGULAR = 0
MODE_ON_CHANGE = 1
MODE_BOTH = 2
CONFIRMED_EVERY_MAX = 255
CHANGE_MAX_CM = 1000
ALARM_DISTANCE_MAX_CM = 1000
ALARM_TEMPERATURE_MAX_C = 125
BAY_THRESHOLD_MAX_NT = 6_553_500  # in steps of 100 nT
BAY_THRESHOLD_STEP_NT = 100
SETTLE_MAX_S = 255

# Why a configuration was refused; 0: it was not.
REFUSED_NOT = 0
REFUSED_MALFORMED = 1
REFUSED_RANGE = 2
REFUSED_UNSUPPORTED = 3
REFUSED_STORAGE = 4
REFUSED_MAX = 255
