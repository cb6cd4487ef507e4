// The network's end for one device, on lora-packet: it joins the device, checks and opens what the
// device sends, makes what it shall hear, and knows where the device listens. One JSON request per
// line on stdin, one JSON answer per line on stdout. Octets are hex, the most significant first
// where they are a number. Regions are written down from the Regional Parameters 1.0.3 (2.2, 2.5).
"use strict";

const readline = require("node:readline");
const lora = require("lora-packet");

const hex = (text) => Buffer.from(text, "hex");
const text = (buffer) => (buffer ? buffer.toString("hex") : "");
const number = (value, octets) => value.toString(16).padStart(2 * octets, "0");

const EU868_RATES = [
  [12, 125000], [11, 125000], [10, 125000], [9, 125000], [8, 125000], [7, 125000], [7, 250000],
];
const US915_RATES = [
  [10, 125000], [9, 125000], [8, 125000], [7, 125000], [8, 500000], null, null, null,
  [12, 500000], [11, 500000], [10, 500000], [9, 500000], [8, 500000], [7, 500000],
];
// RX1's data rate by the uplink's (rows) and RX1DROffset (columns), 2.5.7.
const US915_RX1 = [
  [10, 9, 8, 8], [11, 10, 9, 8], [12, 11, 10, 9], [13, 12, 11, 10], [13, 13, 12, 11],
];

const REGIONS = {
  EU868: {
    rates: EU868_RATES,
    rx2: [869525000, 0],
    rx1: (freqHz, dr, offset) => [freqHz, Math.max(0, dr - offset)],
  },
  US915: {
    rates: US915_RATES,
    rx2: [923300000, 8],
    rx1(freqHz, dr, offset) {
      const channel = dr === 4 ? (freqHz - 903000000) / 1600000 : (freqHz - 902300000) / 200000;
      if (!Number.isInteger(channel)) throw new Error(`no channel at ${freqHz} Hz`);
      return [923300000 + 600000 * (channel % 8), US915_RX1[dr][offset]];
    },
  },
};

let region; // one of REGIONS
let settings; // what the network gave on opening
let sessions = []; // the newest first; the one before it serves until the newest is used
let lastDevNonce = -1;
let appNonce = 0;

function upperHalf(fCnt) {
  const octets = Buffer.alloc(2);
  octets.writeUInt16LE(Math.floor(fCnt / 65536), 0);
  return octets;
}

function rateOf(sf, bwHz) {
  const dr = region.rates.findIndex((rate) => rate && rate[0] === sf && rate[1] === bwHz);
  if (dr < 0) throw new Error(`no data rate has SF${sf} on ${bwHz} Hz`);
  return dr;
}

// Both receive windows as [seconds after the uplink, Hz, SF, Hz of bandwidth].
function windows(freqHz, sf, bwHz, delayS, offset, rx2, answersOn) {
  const [rx1Hz, rx1Dr] = region.rx1(freqHz, rateOf(sf, bwHz), offset);
  return [
    [delayS, (answersOn || {})[freqHz] || rx1Hz, ...region.rates[rx1Dr]],
    [delayS + 1, rx2[0], ...region.rates[rx2[1]]],
  ];
}

function hearJoin(frame, { freq_hz, sf, bw_hz, lost }) {
  const devNonce = frame.DevNonce.readUInt16BE(0);
  const answer = {
    kind: "join",
    dev_nonce: devNonce,
    genuine:
      lora.verifyMIC(frame, undefined, hex(settings.app_key)) &&
      text(frame.DevEUI) === settings.dev_eui &&
      text(frame.AppEUI) === settings.join_eui,
    fresh: devNonce > lastDevNonce,
  };
  if (lost || !answer.genuine || !answer.fresh) return answer;
  lastDevNonce = devNonce;
  appNonce += 1;
  const devAddr = number(0x26000000 + appNonce, 4);
  const accept = lora.fromFields(
    {
      MType: 1,
      AppNonce: hex(number(appNonce, 3)),
      NetID: hex(settings.net_id),
      DevAddr: hex(devAddr),
      DLSettings: (settings.rx1_dr_offset << 4) | settings.rx2_dr,
      RxDelay: settings.rx_delay_s,
      CFList: hex(settings.cf_list),
    },
    undefined,
    undefined,
    hex(settings.app_key),
  );
  const keys = lora.generateSessionKeys10(
    hex(settings.app_key),
    hex(settings.net_id),
    hex(number(appNonce, 3)),
    frame.DevNonce,
  );
  sessions = [
    {
      devAddr,
      nwkSKey: keys.NwkSKey,
      appSKey: keys.AppSKey,
      fCntUp: -1,
      fCntDown: settings.f_cnt_down,
      rx: {
        rx1_dr_offset: settings.rx1_dr_offset,
        rx2: [region.rx2[0], settings.rx2_dr],
        rx_delay_s: settings.rx_delay_s,
        answers_on: {},
      },
    },
    ...sessions.slice(0, 1),
  ];
  answer.phy_payload = text(Buffer.concat([accept.MHDR, accept.MACPayloadWithMIC]));
  answer.windows = windows(freq_hz, sf, bw_hz, 5, 0, region.rx2);
  return answer;
}

// The 32-bit counter of a frame: its own half, and the least upper half that does not go back.
function wholeCounter(low, last) {
  const high = Math.floor(Math.max(last, 0) / 65536);
  return high * 65536 + low < last ? (high + 1) * 65536 + low : high * 65536 + low;
}

function hearData(frame, { lost }) {
  for (const session of sessions) {
    const fCnt = wholeCounter(frame.getFCnt(), session.fCntUp);
    const upper = upperHalf(fCnt);
    if (
      text(frame.DevAddr) !== session.devAddr ||
      !lora.verifyMIC(frame, session.nwkSKey, undefined, upper)
    ) {
      continue;
    }
    const answer = {
      kind: "data",
      f_cnt: fCnt,
      repeated: fCnt === session.fCntUp,
      dev_addr: session.devAddr,
      nwk_s_key: text(session.nwkSKey),
      app_s_key: text(session.appSKey),
      direction: frame.getDir(),
      confirmed: frame.isConfirmed(),
      adr: frame.getFCtrlADR(),
      adr_ack_req: frame.getFCtrlADRACKReq(),
      ack: frame.getFCtrlACK(),
      f_opts: text(frame.FOpts),
      f_port: frame.getFPort(),
      payload:
        frame.getFPort() === null
          ? ""
          : text(lora.decrypt(frame, session.appSKey, session.nwkSKey, upper)),
    };
    if (!lost) {
      sessions = [session];
      session.fCntUp = fCnt;
    }
    return answer;
  }
  return { kind: "stranger" };
}

const operations = {
  open(request) {
    settings = request;
    region = REGIONS[request.region];
    return {};
  },

  // An uplink; one that is `lost` is read, but the network does not learn of it.
  hear(request) {
    const frame = lora.fromWire(hex(request.phy_payload));
    return frame.getMType() === "Join Request"
      ? hearJoin(frame, request)
      : hearData(frame, request);
  },

  // The next downlink.
  say({ confirmed, ack, f_pending, f_opts, f_port, payload }) {
    const session = sessions[0];
    const fCnt = session.fCntDown;
    session.fCntDown += 1;
    const low = Buffer.alloc(2);
    low.writeUInt16BE(fCnt % 65536, 0);
    const fields = {
      MType: confirmed ? 5 : 3,
      DevAddr: hex(session.devAddr),
      FCtrl: { ACK: ack, FPending: f_pending },
      FCnt: low,
      FOpts: hex(f_opts),
      payload: hex(payload),
    };
    if (f_port !== null) fields.FPort = f_port;
    const upper = upperHalf(fCnt);
    const frame = lora.fromFields(fields, session.appSKey, session.nwkSKey, undefined, upper);
    lora.recalculateMIC(frame, session.nwkSKey, undefined, upper); // without a port there is none
    return { phy_payload: text(frame.PHYPayload), f_cnt: fCnt };
  },

  // Where the device listens after an uplink that was sent here.
  windows({ freq_hz, sf, bw_hz }) {
    const { rx_delay_s, rx1_dr_offset, rx2, answers_on } = sessions[0].rx;
    return { windows: windows(freq_hz, sf, bw_hz, rx_delay_s, rx1_dr_offset, rx2, answers_on) };
  },

  // The device has agreed to listen elsewhere.
  listens(change) {
    Object.assign(sessions[0].rx, change);
    return {};
  },
};

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = operations[request.operation](request);
  } catch (problem) {
    answer = { error: String(problem) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
