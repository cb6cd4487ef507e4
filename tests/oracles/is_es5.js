// Ends with 0 if each file given is strict ECMAScript 5, else with acorn's complaint.
"use strict";

const fs = require("node:fs");
const acorn = require("acorn");

for (const path of process.argv.slice(2)) {
  const source = fs.readFileSync(path, "utf8");
  const program = acorn.parse(source, { ecmaVersion: 5 });
  const directive = program.body[0].directive;
  if (directive !== "use strict") throw new Error(path + ": not strict");
}
