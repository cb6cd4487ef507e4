// Stoep payloads, schema v1, as a TS013 codec in ES5, for The Things Stack and ChirpStack.
// docs/protocol.md explains fields and error codes. codec.js is made from this file, to be small:
// npm run codec --prefix tests/oracles
'use strict';

var NOT_CANONICAL = 'not-canonical';
var RANGE = 'range';
var TRUNCATED = 'truncated';
var TYPE = 'type';
var LENGTH = 'length';

// name lowest highest, in the order of the array
var STATUS = 'charge_used_mah 0 65535,battery_mv 0 65535,reset_reason 0 15,calibration 0 3,' +
  'link_margin_db -128 127,firmware 0 65535,hardware 0 255';
var CONFIGURATION = 'interval_min 1 1920,mode 0 2,confirmed_every 0 255,history 0 24,' +
  'change_cm 0 1000,alarm_distance_cm 0 1000,alarm_temperature_c -40 125,' +
  'bay_threshold_nt 0 65535,settle_s 0 255';
// Downlinks by fPort: their type, their fields, and how many of them have to be said.
var DOWN = {
  13: ['configuration', CONFIGURATION, 0],
  16: ['readings_request', 'sequence 0 1023,count 1 24', 2],
  17: ['calibrate', 'step 0 2,distance_cm 1 1000', 1]
};

function need(condition, code) {
  if (!condition) throw code;
}

function integer(value, lowest, highest) {
  need(typeof value == 'number' && value % 1 == 0, TYPE);
  need(value >= lowest && value <= highest, RANGE);
  return value;
}

function integerOrNull(value, lowest, highest) {
  return value == null ? null : integer(value, lowest, highest);
}

function eachField(table, visit) {
  table.split(',').forEach(function (field, index) {
    field = field.split(' ');
    visit(field[0], index, +field[1], +field[2]);
  });
}

// The first `said` fields may not be left out.
function setFields(data, table, items, said) {
  need(items.length <= table.split(',').length && !(items.length < said), LENGTH);
  eachField(table, function (name, index, lowest, highest) {
    data[name] = (index < said ? integer : integerOrNull)(items[index], lowest, highest);
  });
  need(!data.interval_min || gapCode(data.interval_min), RANGE);
  return data;
}

// Deterministic CBOR: one array of integers, byte strings and null.
function parse(bytes) {
  var items = [];
  var position = 0;
  var count, first, size, argument;

  function take(length) {
    need(position + length <= bytes.length, TRUNCATED);
    return bytes.slice(position, position += length);
  }

  count = take(1)[0] ^ 128;
  need(count < 32, TYPE);
  need(count < 24, LENGTH);
  while (count--) {
    first = take(1)[0];
    argument = first & 31;
    if (first == 246) {
      items.push(null);
      continue;
    }
    need(first < 96, TYPE);
    if (argument > 23) {
      need(argument < 27, argument == 27 ? RANGE : TYPE);
      size = 1 << argument - 24;
      argument = take(size).reduce(function (sum, byte) {
        return 256 * sum + byte;
      }, 0);
      need(argument >= (size > 1 ? 1 << 4 * size : 24), NOT_CANONICAL);
    }
    items.push(first > 63 ? take(argument) : first > 31 ? -1 - argument : argument);
  }
  need(position == bytes.length, 'trailing');
  need(items[items.length - 1] !== null, NOT_CANONICAL);
  return items;
}

function gapMinutes(code) {
  return code < 31 ? code :
    code < 49 ? 5 * code - 120 :
    code < 59 ? 60 * code - 2760 : 240 * code - 13200;
}

function gapCode(minutes) {
  for (var code = 63; code && gapMinutes(code) != minutes;) code--;
  return code;
}

// The history's bits: tokens of 6 and 14 bits.
function unpack(bytes, age, distance, quality) {
  var past = [];
  var position = 0;
  var left = 8 * bytes.length;
  var reference = distance === null ? -1 : Math.floor((distance + 5) / 10);
  var gap, gapAlone, cm, itsQuality, value;

  function take(bits) {
    left -= bits;
    for (value = 0; bits--; position++) {
      value = 2 * value + (bytes[position >> 3] >> 7 - position % 8 & 1);
    }
    return value;
  }

  need(left, TRUNCATED);
  gap = gapMinutes(take(6)) || -1;
  while (left) {
    if (take(1)) {
      if (left < 7) {
        need(take(cm = left) == (1 << cm) - 1, NOT_CANONICAL);
        break;
      }
      need(left > 12, TRUNCATED);
      if (take(13) > 5119) {
        value -= 5120;
        need(
          !gapAlone && value != gap && (gap < 0 ? !gapCode(value) : past.length),
          NOT_CANONICAL
        );
        gap = value;
        gapAlone = true;
        continue;
      }
      need(value < 5010, RANGE);
      itsQuality = value % 5;
      cm = (value - itsQuality) / 5 - 1;
      value = cm - reference;
      need(
        cm < 0 || reference < 0 || itsQuality != quality || value < -8 || value > 23,
        NOT_CANONICAL
      );
    } else {
      need(left > 4, TRUNCATED);
      need(reference > -1, NOT_CANONICAL);
      cm = integer(reference + take(5) - 8, 0, 1000);
      itsQuality = quality;
    }
    need(gap > -1, NOT_CANONICAL);
    gapAlone = false;
    age += gap;
    need(age < 65536 && past.length < 24, RANGE);
    past.push({age_min: age, distance_mm: cm < 0 ? null : 10 * cm, quality: itsQuality});
    if (cm > -1) {
      reference = cm;
      quality = itsQuality;
    }
  }
  need(!gapAlone && past.length, TRUNCATED);
  return past;
}

function seconds(code) {
  return code < 32 ? 4 * code : 4 * (16 + code % 16) << (code >> 4) - 1;
}

// The second of two items, there only when it is not zero.
function flagsOf(items, highest) {
  need(items.length < 3, LENGTH);
  if (items.length < 2) return 0;
  need(integer(items[1], 0, highest), NOT_CANONICAL);
  return items[1];
}

function status(items) {
  var errors = [];
  var data, firmware;
  if (items.length > 7) {
    errors = items.pop();
    need(items.length < 8, LENGTH);
    need(errors.slice, TYPE);
    need(errors.length, NOT_CANONICAL);
    need(errors.length < 17, RANGE);
  }
  data = setFields({type: 'status', errors: errors}, STATUS, items);
  firmware = data.firmware;
  if (firmware !== null) data.firmware = [firmware >> 12, firmware >> 6 & 63, firmware & 63];
  return data;
}

function bay(items) {
  var head = integer(items[0], 0, 4294967295);
  var state = head >> 16 & 3;
  var age = head & 255;
  var previous = head >> 8 & 255;
  need(state < 3 && age < 255, RANGE);
  return {
    type: 'bay',
    state: state,
    change_count: head >>> 18,
    age_s: seconds(age),
    previous_duration_s: previous < 255 ? seconds(previous) : null,
    flags: flagsOf(items, 15)
  };
}

function bin(items, position) {
  var head = integer(items[0], 0, 2097151);
  var quality = head >> 10 & 7;
  var distance, temperature = null, flaps = null, age = 0, past = [];
  need(quality < 5, RANGE);
  distance = integerOrNull(items[1], -1001, 10000);
  if (distance < 0) distance = -10 - 10 * distance;
  else need(distance === null || distance % 10, NOT_CANONICAL);
  if (position == 3) age = integer(items[2], 1, 65535);
  else {
    temperature = integerOrNull(items[2], -50, 75);
    if (temperature !== null) temperature += 10;
    flaps = integerOrNull(items[3], 0, 255);
  }
  if (items.length > position) {
    need(items.length == position + 1, LENGTH);
    need(items[position].slice, TYPE);
    past = unpack(items[position], age, distance, quality);
  }
  return {
    type: 'bin',
    sequence: head & 1023,
    distance_mm: distance,
    quality: quality,
    flags: head >> 13,
    temperature_c: temperature,
    flaps: flaps,
    age_min: age,
    history: past
  };
}

function calibrated(items) {
  var head = integer(items.shift(), 0, 31);
  need(head % 4 < 3, RANGE);
  need(items.length < 5, LENGTH);
  return {
    type: 'calibrated',
    step: head % 4,
    result: head >> 2,
    values: items.map(function (value) {
      return integerOrNull(value, 0, 65535);
    })
  };
}

function answer(make) {
  try {
    return make();
  } catch (error) {
    return {errors: [String(error)]};
  }
}

function acknowledgement(items) {
  return {
    type: 'configuration_ack',
    config_hash: integer(items[0], 0, 65535),
    refused: flagsOf(items, 255)
  };
}

var UP = {10: bin, 11: bay, 12: status, 14: acknowledgement, 15: bin, 18: calibrated};

function decodeUplink(input) {
  return answer(function () {
    var read = UP[input.fPort];
    var items;
    need(read, 'f-port');
    items = parse(input.bytes);
    need(items.length || read == status, LENGTH);
    return {data: read(items, input.fPort > 10 ? 3 : 4)};
  });
}

function decodeDownlink(input) {
  return answer(function () {
    var kind = DOWN[input.fPort];
    need(kind, 'f-port');
    return {data: setFields({type: kind[0]}, kind[1], parse(input.bytes), kind[2])};
  });
}

function encodeDownlink(input) {
  return answer(function () {
    var known = ['type'];
    var items = [];
    var fPort = 'count' in input.data ? 16 : 'step' in input.data ? 17 : 13;
    var kind = DOWN[fPort];
    var bytes;
    eachField(kind[1], function (name) {
      known.push(name);
      items.push(input.data[name]);
    });
    for (var name in input.data) need(known.indexOf(name) > -1, 'unknown field ' + name);
    setFields({}, kind[1], items, kind[2]);
    while (items.length && items[items.length - 1] == null) items.pop();
    bytes = [128 | items.length];
    items.forEach(function (value) {
      var major = value < 0 ? 32 : 0;
      var argument = major ? -1 - value : value;
      if (value == null) bytes.push(246);
      else if (argument < 24) bytes.push(major | argument);
      else if (argument < 256) bytes.push(major | 24, argument);
      else bytes.push(25, argument >> 8, argument & 255);
    });
    return {fPort: fPort, bytes: bytes};
  });
}
