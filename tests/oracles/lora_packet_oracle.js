// lora-packet as a service for the tests: one JSON request per line on stdin, one JSON answer per
// line on stdout, in order. Octets are hex; EUIs, DevAddr and nonces big-endian as lora-packet
// writes them. An error is answered as {"error": "..."} and ends nothing.
"use strict";

const readline = require("node:readline");
const lora = require("lora-packet");

const hex = (text) => Buffer.from(text, "hex");
const text = (buffer) => (buffer ? buffer.toString("hex") : "");

// The upper half of the 32-bit counter, little-endian, as lora-packet wants it.
function upperHalf(fCnt) {
  const octets = Buffer.alloc(2);
  octets.writeUInt16LE(Math.floor(fCnt / 65536), 0);
  return octets;
}

const operations = {
  decode_data({ phy_payload, nwk_s_key, app_s_key, f_cnt }) {
    const frame = lora.fromWire(hex(phy_payload));
    const nwkSKey = hex(nwk_s_key);
    const appSKey = hex(app_s_key);
    const upper = upperHalf(f_cnt);
    return {
      m_type: frame.MHDR[0] >> 5,
      confirmed: frame.isConfirmed(),
      direction: frame.getDir(),
      dev_addr: text(frame.DevAddr),
      adr: frame.getFCtrlADR(),
      adr_ack_req: frame.getFCtrlADRACKReq(),
      ack: frame.getFCtrlACK(),
      f_pending: frame.getFCtrlFPending(),
      f_cnt: frame.getFCnt(),
      f_opts: text(frame.FOpts),
      f_port: frame.getFPort(),
      mic_valid: lora.verifyMIC(frame, nwkSKey, undefined, upper),
      payload:
        frame.getFPort() === null ? "" : text(lora.decrypt(frame, appSKey, nwkSKey, upper)),
    };
  },

  encode_data(request) {
    const nwkSKey = hex(request.nwk_s_key);
    const fCnt = Buffer.alloc(2);
    fCnt.writeUInt16BE(request.f_cnt % 65536, 0);
    const fields = {
      MType: request.m_type,
      DevAddr: hex(request.dev_addr),
      FCtrl: {
        ADR: request.adr,
        ADRACKReq: request.adr_ack_req,
        ACK: request.ack,
        FPending: request.f_pending,
      },
      FCnt: fCnt,
      FOpts: hex(request.f_opts),
      payload: hex(request.payload),
    };
    if (request.f_port !== null) fields.FPort = request.f_port;
    const upper = upperHalf(request.f_cnt);
    const frame = lora.fromFields(fields, hex(request.app_s_key), nwkSKey, undefined, upper);
    // Without a port fromFields leaves the MIC out.
    lora.recalculateMIC(frame, nwkSKey, undefined, upper);
    return { phy_payload: text(frame.PHYPayload) };
  },

  decode_join_request({ phy_payload, app_key }) {
    const frame = lora.fromWire(hex(phy_payload));
    return {
      join_eui: text(frame.AppEUI),
      dev_eui: text(frame.DevEUI),
      dev_nonce: text(frame.DevNonce),
      mic_valid: lora.verifyMIC(frame, undefined, hex(app_key)),
    };
  },

  encode_join_request({ join_eui, dev_eui, dev_nonce, app_key }) {
    const fields = { AppEUI: hex(join_eui), DevEUI: hex(dev_eui), DevNonce: hex(dev_nonce) };
    const frame = lora.fromFields({ MType: 0, ...fields }, undefined, undefined, hex(app_key));
    return { phy_payload: text(frame.PHYPayload) };
  },

  decode_join_accept({ phy_payload, app_key }) {
    const encrypted = lora.fromWire(hex(phy_payload));
    const frame = lora.fromWire(lora.decryptJoinAccept(encrypted, hex(app_key)));
    return {
      app_nonce: text(frame.AppNonce),
      net_id: text(frame.NetID),
      dev_addr: text(frame.DevAddr),
      rx1_dr_offset: frame.getDLSettingsRxOneDRoffset(),
      rx2_dr: frame.getDLSettingsRxTwoDataRate(),
      rx_delay_s: frame.getRxDelayDel(),
      cf_list: text(frame.CFList),
      frequencies: frame.CFList.length
        ? [
            frame.getCFListFreqChFour(),
            frame.getCFListFreqChFive(),
            frame.getCFListFreqChSix(),
            frame.getCFListFreqChSeven(),
            frame.getCFListFreqChEight(),
          ].map(text)
        : [],
      mic_valid: lora.verifyMIC(frame, undefined, hex(app_key)),
    };
  },

  encode_join_accept(request) {
    const fields = {
      MType: 1,
      AppNonce: hex(request.app_nonce),
      NetID: hex(request.net_id),
      DevAddr: hex(request.dev_addr),
      DLSettings: (request.rx1_dr_offset << 4) | request.rx2_dr,
      RxDelay: request.rx_delay_s,
      CFList: hex(request.cf_list),
    };
    const frame = lora.fromFields(fields, undefined, undefined, hex(request.app_key));
    return { phy_payload: text(Buffer.concat([frame.MHDR, frame.MACPayloadWithMIC])) };
  },

  session_keys({ app_key, net_id, app_nonce, dev_nonce }) {
    const keys = lora.generateSessionKeys10(
      hex(app_key),
      hex(net_id),
      hex(app_nonce),
      hex(dev_nonce),
    );
    return { nwk_s_key: text(keys.NwkSKey), app_s_key: text(keys.AppSKey) };
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
