"""Schema v1: which fPort carries what, the range of every field, and the names of its codes.

The fPort is the schema and its version: a change that an old decoder would misread takes new
fPorts (20 and up are kept for version 2). docs/protocol.md explains the arrays field by field.
"""

F_PORT_BIN = 10  # newest reading of a container, and earlier ones
F_PORT_BAY = 11  # state of a parking bay
F_PORT_STATUS = 12  # health of the device
F_PORT_CONFIGURATION = 13  # downlink: how the device shall behave
F_PORT_CONFIGURATION_ACK = 14  # what is in force
F_PORT_BIN_PAST = 15  # earlier readings of a container alone
F_PORT_READINGS_REQUEST = 16  # downlink: earlier readings that are asked for
F_PORT_CALIBRATE = 17  # downlink: a step of calibration.py
F_PORT_CALIBRATED = 18  # what came of it

# BinReport.flags
ECHO_WEAK = 1  # few of the burst's pings came back
ECHO_UNSTABLE = 2  # the pings disagree
ECHO_BLOCKED = 4  # something in the dead zone, or a wet transducer
LID_OPEN = 8  # for longer than an emptying takes
TILTED = 16  # does not stand as it was mounted
MOVED = 32  # for longer than a lid or a lorry moves it
FIRE = 64  # hot, or much warmer than at the reading before
PRESSED = 128  # the press of a compacting bin has run since the report before

# BayReport.state
FREE = 0
OCCUPIED = 1
UNCERTAIN = 2

# BayReport.flags
FIELD_SATURATED = 1  # the magnetometer is at the end of its range
BASELINE_DRIFTED = 2  # far from what was calibrated
NOT_CALIBRATED = 4
NEIGHBOUR_SUSPECTED = 8  # the change looks like a car in the next bay

# Status.reset_reason
RESET_NONE = 0  # none since the last status report
RESET_POWER_ON = 1
RESET_BROWN_OUT = 2
RESET_WATCHDOG = 3
RESET_CRASH = 4
RESET_SOFT = 5
RESET_EXTERNAL = 6

# Status.calibration
CALIBRATION_NONE = 0
CALIBRATION_RUNNING = 1
CALIBRATION_DONE = 2
CALIBRATION_DUE = 3

# Status.errors
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
ERROR_PROGRAM = 11  # a mistake of the firmware ended a wake early

# Configuration.mode
MODE_REGULAR = 0
MODE_ON_CHANGE = 1
MODE_BOTH = 2

# ConfigurationAck.refused
REFUSED_MALFORMED = 1
REFUSED_RANGE = 2
REFUSED_UNSUPPORTED = 3
REFUSED_STORAGE = 4

# What is sent of a sequence number, and of a bay's count of changes.
SEQUENCE_MODULUS = 1024
CHANGE_COUNT_MODULUS = 16_384

DISTANCE_MAX_MM = 10_000
# As LwM2M has it: 0 unchecked, 1 and 2 rejected (surely, probably), 3 suspicious, 4 accepted.
QUALITY_MAX = 4
TEMPERATURE_MIN_C = -40
TEMPERATURE_MAX_C = 85
TEMPERATURE_OFFSET_C = 10  # so that -14 to 33 °C take one byte
FLAPS_MAX = 255
AGE_MAX_MIN = 65_535
HISTORY_MAX = 24  # earlier readings in one report
ERRORS_MAX = 16  # codes in one status report

# Fields and their ranges, both ends included.
BIN = (
    ("sequence", 0, 0xFFFF),
    ("distance_mm", 0, DISTANCE_MAX_MM),
    ("quality", 0, QUALITY_MAX),
    ("flags", 0, 255),
    ("temperature_c", TEMPERATURE_MIN_C, TEMPERATURE_MAX_C),
    ("flaps", 0, FLAPS_MAX),
    ("age_min", 0, AGE_MAX_MIN),
)
BAY = (
    ("state", 0, UNCERTAIN),
    ("change_count", 0, CHANGE_COUNT_MODULUS - 1),
    ("age_s", 0, 0x7FFF_FFFF),
    ("previous_duration_s", 0, 0x7FFF_FFFF),
    ("flags", 0, 15),
)
CONFIGURATION_ACK = (("config_hash", 0, 0xFFFF), ("refused", 0, 255))

# These tables are their arrays too, item by item.
STATUS = (
    ("charge_used_mah", 0, 0xFFFF),
    ("battery_mv", 0, 0xFFFF),
    ("reset_reason", 0, 15),
    ("calibration", 0, CALIBRATION_DUE),
    ("link_margin_db", -128, 127),
    ("firmware", 0, 0xFFFF),  # major << 12 | minor << 6 | patch
    ("hardware", 0, 255),
)
READINGS_REQUEST = (("sequence", 0, SEQUENCE_MODULUS - 1), ("count", 1, HISTORY_MAX))
CONFIGURATION = (
    ("interval_min", 1, 1920),  # and one that history.gap_min can name
    ("mode", MODE_REGULAR, MODE_BOTH),
    ("confirmed_every", 0, 255),
    ("history", 0, HISTORY_MAX),
    ("change_cm", 0, 1000),
    ("alarm_distance_cm", 0, 1000),
    ("alarm_temperature_c", TEMPERATURE_MIN_C, 125),
    ("bay_threshold_nt", 0, 0xFFFF),
    ("settle_s", 0, 255),
)
