// Ours, after the user manual of the LDDS75, "Uplink Payload": battery in mV (14 bits), distance in
// mm (0: no sensor, below 20 mm: invalid), interrupt, temperature in 0.1 degrees, sensor's flag.
function decodeUplink(input) {
  const b = input.bytes;
  if (input.fPort !== 2 || b.length < 4) return { data: {} };
  const u16 = i => b[i] << 8 | b[i + 1];
  const data = { battery: (u16(0) & 0x3fff) / 1000 };
  const mm = u16(2);
  data.distance = mm === 0 ? 'No Sensor' : mm < 20 ? 'Invalid Reading' : mm;
  if (b.length >= 8) {
    if (b[7] === 0) data.distance = 'No Sensor';
    if (u16(5) !== 0) data.temperature = (u16(5) << 16 >> 16) / 10;
  }
  return { data };
}
