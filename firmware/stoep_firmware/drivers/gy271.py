"""A "GY-271": one of three magnetometers, which the address tells. None is for batteries."""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import I2c, Magnetometer

_ENODEV = const(19)


def open_sensor(i2c: "I2c") -> "Magnetometer":
    """Return the driver of the chip that answers; only its module is loaded."""
    for address in (0x2C, 0x0D, 0x1E):
        try:
            i2c.readfrom_mem(address, 0, 1)
        except OSError:
            continue
        if address == 0x2C:
            from stoep_firmware.drivers.qmc5883p import Qmc5883p as Sensor  # noqa: PLC0415
        elif address == 0x0D:
            from stoep_firmware.drivers.qmc5883l import (  # type: ignore[assignment]  # noqa: PLC0415
                Qmc5883l as Sensor,
            )
        else:
            from stoep_firmware.drivers.hmc5883l import (  # type: ignore[assignment]  # noqa: PLC0415
                Hmc5883l as Sensor,
            )
        return Sensor(i2c)
    raise OSError(_ENODEV)
