// Milesight's channels: id, type, value. Ours, after the format in their user guides ("Uplink
// Packets"); members are named as in the maker's own decoder, which may take its place.
function decodeUplink(input) {
  const b = input.bytes, data = {};
  const lengths = { 0x01: 1, 0x09: 2, 0x0a: 2, 0xff: 2, 0x16: 8, 0x0f: 1, 0xfe: 1, 0x0b: 1 };
  const u16 = i => b[i] | b[i + 1] << 8;
  let i = 0;
  while (i + 2 < b.length) {
    const id = b[i], type = b[i + 1];
    i += 2;
    if (id === 0x01 && type === 0x75) { data.battery = b[i]; i += 1; }
    else if (id === 0x03 && type === 0x67) { data.temperature = (u16(i) << 16 >> 16) / 10; i += 2; }
    else if ((id === 0x03 || id === 0x04) && type === 0x82 && i + 1 < b.length) {
      data.distance = u16(i); i += 2;
    }
    else if (type === 0x00 && (id === 0x04 || id === 0x05)) {
      data.position = b[i] === 0 ? 'normal' : 'tilt'; i += 1;
    }
    else if (id === 0xff && type in lengths) i += lengths[type];
    else break;
  }
  return { data };
}
