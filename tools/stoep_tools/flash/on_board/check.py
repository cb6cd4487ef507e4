"""The self-test's side on the board, for selftest.py; defines names that begin with _t_.

It uses the firmware's own drivers from the board's file system, and starts no watchdog. Every
check is a generator that waits as the firmware's do; here nothing sleeps, for a sleeping board's
own USB would be gone.
"""

from stoep_firmware.board import IDLE, LIGHT

_STEP_MS = 8  # between two looks at the radio's line; the windows allow for 20


def _t_make():
    """Build the board as main.py does."""
    import json
    import os
    import time

    import cryptolib
    import esp32
    import machine
    from stoep_firmware.board import Board
    from stoep_firmware.device.files import Files

    with open("config.json") as file:
        config = json.load(file)
    return Board(
        machine, esp32, time, os.urandom, lambda key: cryptolib.aes(key, 1), Files(), config
    )


def _t_drive(board, wait):
    """Run a check to its end and return what it returns."""
    now_ms = board.clock.now_ms
    while True:
        try:
            mode, until_ms = next(wait)
        except StopIteration as end:
            return end.value
        pins = board._radio_pins if mode == LIGHT else None
        while now_ms() < until_ms:
            if pins is not None and any([pin() for pin in pins.ends]):
                break
            board.delay_ms(min(_STEP_MS, until_ms - now_ms()))


def _t_scan(board, bus):
    """Return the addresses that answer on the sensor's bus ("i2c") or the display's."""
    pins = board.wiring[bus]
    pin = board._machine.Pin
    i2c = board._machine.I2C(pins["id"], scl=pin(pins["scl"]), sda=pin(pins["sda"]), freq=100000)
    found = {}
    for address in i2c.scan():
        try:
            found[address] = i2c.readfrom_mem(address, 0x0F, 1)[0]  # a LIS3MDL's WHO_AM_I
        except OSError:
            found[address] = -1
    return found


def _t_bin(board):
    """Return the distances of five pings, the sensor's signs of life, its name and its range."""
    from stoep_firmware.drivers import load

    name = board.config.get("sensor", "a02yyuw")
    driver = load(name)
    try:
        distances, signs = yield from driver.sample(board, 5, None)
    except OSError:
        distances, signs = [], 0
    found = [distance for distance in distances if distance]
    return found, signs, name, driver.NEAREST_MM, driver.FARTHEST_MM


def _t_heard(board):
    """Return what a sensor says at 9600 baud within a second and a half, unasked."""
    heard = b""
    board.sensor_power(True)
    try:
        uart = board.uart(9600)
        until_ms = board.clock.now_ms() + 1500
        while board.clock.now_ms() < until_ms:
            yield IDLE, board.clock.now_ms() + 20
            heard += uart.read(uart.any() or 1) or b""
    finally:
        board.sensor_power(False)
    return heard


def _t_fitted(board):
    """Return what says what beside the sensor: a pull in mg, degrees, 1 for an open lid; or None
    for what does not answer.
    """
    from stoep_firmware.drivers import load

    config = board.config
    found = {}
    if "motion" in config:
        found["motion"] = None
        driver = load(config["motion"])
        try:
            sensor = driver.Accelerometer(board.i2c())
            sensor.watch()
            yield LIGHT, board.clock.now_ms() + driver.SETTLE_MS
            found["motion"] = sensor.position_mg()
            sensor.moved()
        except OSError:
            pass
    if "thermometer" in config:
        found["thermometer"] = None
        try:
            found["thermometer"] = yield from load(config["thermometer"]).temperature_c(board)
        except OSError:
            pass
    if config.get("lid"):
        pin = board.wiring.get("lid")
        if pin is not None:
            found["lid"] = int(board.level(pin) == board.wiring.get("lid_open", 1))
    return found


def _t_bay(board):
    """Return fields in nT, whether the sensor is saturated, whether INT rises and falls, and after
    how many seconds a sensor without a threshold is looked at again, 0 for others.
    """
    from stoep_firmware.drivers import load

    clock = board.clock
    driver = load(board.config.get("sensor", "lis3mdl"))
    try:
        sensor = driver.open_sensor(board.i2c())
    except OSError:
        return None
    sensor.measure()
    fields = []
    for _ in range(8):
        yield LIGHT, clock.now_ms() + sensor.CONVERSION_MS + 20
        if sensor.fresh():
            fields.append(sensor.field())
    saturated = sensor.saturated()
    line = []
    if fields and not sensor.POLL_S and "sensor_int" in board.wiring:
        # As if the field had been another: what is measured next is a change.
        sensor.watch([value - 4000 if value > 0 else value + 4000 for value in fields[-1]], 500)
        yield LIGHT, clock.now_ms() + 2 * sensor.CONVERSION_MS
        line.append(bool(board.sensor_int()))
        # Nothing is, from here on.
        sensor.watch(fields[-1], 30000)
        sensor.settle()
        yield LIGHT, clock.now_ms() + 20
        line.append(bool(board.sensor_int()))
    sensor.rest()
    nanotesla = [[value * 1000000 // 68420 for value in field] for field in fields]
    return nanotesla, saturated, line, sensor.POLL_S


def _t_radio(board):
    """Return what the radio's driver and the chip say of it."""
    from stoep_firmware.radio import RadioError, open_radio
    from stoep_protocol.lorawan import regions

    region = regions.by_name(board.config["region"])
    config = board.wiring["radio"]
    found = {}
    try:
        radio = open_radio(board)
        radio.start(region.join_place(0, lambda _below: 0)[0])
        if config["chip"] in ("sx1276", "sx1278"):
            found["version"] = radio._read(0x42, 1)[0]
        else:
            errors = radio._read((0x17, 0), 2)
            found["errors"] = errors[0] << 8 | errors[1]
            if config.get("tcxo_mv"):
                radio._command(0x80, 1)  # standby on the TCXO: it has to run for that
                found["mode"] = radio._read((0xC0,), 1)[0] >> 4 & 7
        radio.sleep(False)
    except RadioError as problem:
        found["code"] = problem.code
    return found
    yield  # a generator, like the others


def _t_join(board, tries):
    """Join as the firmware does, with its session, and keep what comes of it as it would."""
    from stoep_firmware import identity
    from stoep_firmware import mac as m
    from stoep_firmware.link import Link
    from stoep_firmware.meter import Meter
    from stoep_firmware.store import Store

    now_ms = board.clock.now_ms
    store = Store(board.rtc_memory, board.storage)
    ours = identity.mark(board.config)
    session, kept = identity.recall(store, ours, board.clock)
    stored = identity.stored(store, ours)
    mac = identity.new_mac(board, session)
    if "dev_addr" in board.config:
        return {"result": "personalised"}
    faults = []
    heard = []

    def save(durable):
        session.stamp(board.clock)
        octets = session.pack()
        store.owing = store.owing or durable
        sections = [octets, ours] + session.pack_volatile() + (kept or [])
        store.save_rtc(sections)
        if store.owing:
            try:
                store.save_storage([octets, ours] + stored)
            except OSError:
                faults.append("storage")
                return False
            store.save_rtc(sections)
        return True

    class Heard(Link):
        """Notes how well an answer is heard."""

        def _open(self):
            radio = Link._open(self)
            if not heard:
                heard.append(None)
                frame = radio.frame

                def noted():
                    got = frame()
                    heard[0] = got[1:]
                    return got

                radio.frame = noted
            return radio

    link = Heard(board, mac, save, faults.append, Meter(board.wiring))
    link.radio_awake = True
    sent = 0
    until_ms = 0
    try:
        while sent < tries:
            used = session.dev_nonce
            result, until_ms = yield from link.perform((m.JOIN,))
            sent += session.dev_nonce - used
            if result not in (m.BUSY, m.NO_ANSWER) or faults:
                break
            if until_ms - now_ms() > 30_000:
                break
            if sent < tries:
                yield from link.pause(until_ms)
    finally:
        link.close()
        save(False)
    names = {m.JOINED: "joined", m.NO_ANSWER: "no answer", m.BUSY: "busy", m.EXHAUSTED: "exhausted"}
    return {
        "result": names.get(result, "failed"),
        "sent": sent,
        "wait_s": max(0, until_ms - now_ms()) // 1000,
        "heard": heard[0] if heard else None,
        "dev_nonce": session.dev_nonce,
        "dr": session.dr,
        "faults": faults,
    }
