// The payload codec as a service for the tests: one JSON array per line on stdin, a function's name
// and its input, and one JSON answer per line on stdout, in order.
//
// usage: node codec_host.js CODEC.js
"use strict";

const fs = require("node:fs");
const readline = require("node:readline");
const vm = require("node:vm");

// A context of its own, as the platforms give it: no require, no module, no console.
const context = vm.createContext(Object.create(null));
vm.runInContext(fs.readFileSync(process.argv[2], "utf8"), context, { filename: process.argv[2] });

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [name, input] = JSON.parse(line);
  process.stdout.write(JSON.stringify(context[name](input)) + "\n");
});
