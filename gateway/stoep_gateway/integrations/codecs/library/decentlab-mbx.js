// Ours, after Decentlab's payload format 2: version, device id, flags, then 16-bit words of each
// group that a flag announces: distance in mm with the number of valid samples; battery in mV.
function decodeUplink(input) {
  const b = input.bytes;
  if (b[0] !== 2) return { errors: ['protocol version ' + b[0]] };
  const u16 = i => b[i] << 8 | b[i + 1];
  const data = { protocol_version: 2, device_id: u16(1) };
  const flags = u16(3);
  let i = 5;
  if (flags & 1) {
    data.number_of_valid_samples = { value: u16(i + 2) };
    data.distance = { value: u16(i + 2) === 0 ? 0 : u16(i), unit: 'mm' };
    i += 4;
  }
  if (flags & 2) data.battery_voltage = { value: u16(i) / 1000, unit: 'V' };
  return { data };
}
