// Ours, after Bosch's "Parking Lot Sensor" communication interface: port 1 state, 2 heartbeat with
// the temperature, 3 start-up; bit 0 of the last octet of each (the first on ports 1 and 2).
function decodeUplink(input) {
  const b = input.bytes;
  const data = {};
  if (input.fPort === 1 || input.fPort === 2) data.occupied = (b[0] & 1) === 1;
  if (input.fPort === 2 && b.length >= 2) data.temperature = b[1] << 24 >> 24;
  if (input.fPort === 3) {
    data.firmwareVersion = b.slice(12, 15).join('.');
    data.occupied = (b[16] & 1) === 1;
  }
  return { data };
}
