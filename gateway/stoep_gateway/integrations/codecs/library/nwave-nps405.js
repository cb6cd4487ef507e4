// Ours, after Nwave's messages: port 1 state (bit 0) with how long the one before held (minutes, coarser as
// it grows; 127: longer than can be said), 2 heartbeat, 3 start-up, 10 a tag's registration.
function decodeUplink(input) {
  const b = input.bytes, port = input.fPort, data = {};
  const lasted = code => {
    if (code < 90) data.previous_state_duration = code;
    else if (code < 120) data.previous_state_duration = 90 + (code - 90) * 5;
    else if (code < 127) data.previous_state_duration = 240 + (code - 120) * 60;
  };
  if (port === 1 || (port === 10 && b[0] & 1)) {
    data.occupied = (b[0] & 1) === 1;
    lasted(b[0] >> 1);
  } else if (port === 2) {
    data.occupied = (b[0] & 1) === 1;
    data.battery_voltage = (2500 + b[1] * 4) / 1000;
    data.temperature = (b[2] << 24 >> 24) / 2 + 10;
  } else if (port === 3) {
    data.firmware_version = b.slice(0, 3).join('.');
    data.occupied = (b[4] & 1) === 1;
  }
  return { data };
}
