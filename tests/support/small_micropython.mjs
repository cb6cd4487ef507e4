// One wake of the firmware on a MicroPython with 32-bit words, npm's WebAssembly one, with a heap of
// a given size. The simulator is on a descriptor, as for the unix binary. A line of JSON about the
// heap, in bytes, is added to a file: what the simulator's modules keep, what is kept when main.py
// has been imported, the most that was in use after a collection, whether the heap was outgrown, and
// the modules that were loaded.
//
// usage: node small_micropython.mjs MICROPYTHON MODULES HEAP NOTES WIRE   in the device's folder
//        node small_micropython.mjs MICROPYTHON MODULES HEAP NOTES import NAME…
//
// This MicroPython cannot see the roots in WebAssembly's own stack, so it never collects while Python
// runs: when its heap is full it takes another, and that is how it is seen to be full. The collecting
// is done from here: whenever Python asks something of the simulator, encrypts or has imported a module. Then
// everything that Python still needs is in its frames and objects, which are all in memory.
import { createCipheriv } from "node:crypto";
import fs from "node:fs";
import path from "node:path";

const [micropython, modules, heapBytes, notes, wire, ...names] = process.argv.slice(2);
const BLOCK = 16; // octets
const [FREE, HEAD, TAIL] = [0, 1, 2]; // py/gc.c: what the two bits of a block say
const OFTEN = 1024; // octets allocated between two collections, at least

process.on("uncaughtException", (problem) => {
  print(String(problem.message).slice(0, 4000)); // Node would add MicroPython's one long line
  process.exit(1);
});

const print = (text) => fs.writeSync(1, text + "\n");
const instantiate = WebAssembly.instantiate;
let wasm;
WebAssembly.instantiate = async (...given) => {
  const made = await instantiate(...given);
  wasm = made.instance.exports;
  return made;
};
const { loadMicroPython } = await import(micropython);
const mp = await loadMicroPython({ heapsize: Number(heapBytes), stdout: print, stderr: print });
const memory = Object.values(wasm).find((value) => value instanceof WebAssembly.Memory);
const heap = findHeap();
const figures = { live: 0 };
let functionType; // the address that every function of Python begins with
let left = 0; // in use after the last collection

// mp_state_mem_area_t: the next area, the table and its size, finalisers, the blocks and their end,
// where the search for a free block begins.
function findHeap() {
  const words = new Uint32Array(memory.buffer);
  for (let at = 0; at < words.length - 7; at++) {
    const [next, table, size, finalisers, first, end] = words.subarray(at, at + 6);
    if (next || !size || end - first !== size * 4 * BLOCK) continue;
    if (table + size + 1 === finalisers && finalisers < first) {
      return { at, table, finalisers, first, end, blocks: size * 4 };
    }
  }
  throw new Error("MicroPython's heap is not where it should be");
}

// Free what nothing leads to; return the octets that are left in use.
function collect() {
  const words = new Uint32Array(memory.buffer);
  const octets = new Uint8Array(memory.buffer);
  const kind = (block) => (octets[heap.table + (block >> 2)] >> (2 * (block & 3))) & 3;
  const seen = new Uint8Array(heap.blocks);
  const found = [];
  const look = (from, to) => {
    for (let at = from >> 2; at < to >> 2; at++) {
      const offset = words[at] - heap.first;
      if (offset < 0 || words[at] >= heap.end || offset % BLOCK) continue;
      const block = offset / BLOCK;
      if (seen[block] || kind(block) !== HEAD) continue;
      seen[block] = 1;
      found.push(block);
    }
  };
  const endOf = (block) => {
    do block++;
    while (block < heap.blocks && kind(block) === TAIL);
    return block;
  };
  const follow = () => {
    while (found.length) {
      const block = found.pop();
      look(heap.first + block * BLOCK, heap.first + endOf(block) * BLOCK);
    }
  };
  look(wasm.emscripten_stack_get_current(), heap.table);
  look(heap.end, memory.buffer.byteLength);
  follow();
  // While __init__ runs, its arguments are also in an array that only WebAssembly's stack knows, and
  // that is freed when it returns (py/objtype.c). It begins with the function.
  for (let block = 0; block < heap.blocks; block++) {
    if (kind(block) !== HEAD || seen[block]) continue;
    const offset = words[(heap.first >> 2) + block * (BLOCK >> 2)] - heap.first;
    if (offset < 0 || offset % BLOCK || !seen[offset / BLOCK]) continue;
    if (words[(heap.first + offset) >> 2] === functionType) {
      seen[block] = 1;
      found.push(block);
    }
  }
  follow();
  let used = 0;
  for (let block = 0; block < heap.blocks; ) {
    if (kind(block) === FREE) {
      block++;
      continue;
    }
    const end = endOf(block);
    const finalised = (octets[heap.finalisers + (block >> 3)] >> (block & 7)) & 1; // left to gc.c
    if (seen[block] || finalised) used += end - block;
    else for (let at = block; at < end; at++) octets[heap.table + (at >> 2)] &= ~(3 << (2 * (at & 3)));
    block = end;
  }
  words[heap.at + 6] = 0;
  left = used * BLOCK;
  figures.live = Math.max(figures.live, left);
  return left;
}

function octetsAt(at, size) {
  return Buffer.from(memory.buffer.slice(at, at + size));
}

function put(at, data) {
  new Uint8Array(memory.buffer).set(data, at);
}

mp.registerJsModule("_host", {
  know(aFunction) {
    functionType = new Uint32Array(memory.buffer)[aFunction >> 2];
  },
  sample(allocated) {
    if (allocated >= left + OFTEN) collect();
  },
  write: (at, size) => fs.writeSync(Number(wire), octetsAt(at, size)),
  read(at, size) {
    const data = Buffer.alloc(size);
    for (let have = 0; have < size; ) {
      const got = fs.readSync(Number(wire), data, have, size - have);
      if (!got) process.exit(1); // the simulator has gone
      have += got;
    }
    put(at, data);
  },
  encrypt(key, at, size, out) {
    const aes = createCipheriv("aes-128-ecb", octetsAt(key, 16), null).setAutoPadding(false);
    put(out, Buffer.concat([aes.update(octetsAt(at, size)), aes.final()]));
  },
  begin: () => load(".", "/device"),
});

function load(from, to) {
  mp.FS.mkdir(to);
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), `${to}/${entry.name}`];
    if (entry.isDirectory()) load(source, target);
    else mp.FS.writeFile(target, fs.readFileSync(source));
  }
}

function finish(status) {
  figures.outgrown = new Uint32Array(memory.buffer)[heap.at] !== 0;
  figures.modules = mp.globals.get("loaded")().split(" ");
  fs.appendFileSync(notes, JSON.stringify(figures) + "\n");
  process.exit(status);
}

load(modules, "/modules");
mp.runPython(fs.readFileSync(new URL("small_micropython.py", import.meta.url), "utf8"));
mp.runPython("import machine, esp32, time, os");
figures.simulator = collect();
if (wire === "import") {
  for (const name of names) mp.runPython(`import ${name}`);
  figures.imported = collect();
  finish(0);
}
// What main.py imports is loaded before the wake comes, as start.py has it for the unix binary.
mp.runPython("from stoep_firmware.device.main import main");
figures.imported = collect();
try {
  mp.runPython("wake(main)");
} catch (problem) {
  if (problem.type !== "SystemExit") throw problem;
  for (const name of mp.FS.readdir("/device")) {
    if (!name.startsWith(".")) fs.writeFileSync(name, mp.FS.readFile(`/device/${name}`));
  }
  finish(Number(/SystemExit: (\d+)/.exec(problem.message)[1]));
}
