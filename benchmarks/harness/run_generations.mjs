/**
 * Generates with the JavaScript client: `node run_generations.mjs FILE`, with a JSON array of calls on the standard
 * input, `{texts, settings}` each. It prints the token ids of each text, call by call.
 */

import { readFileSync } from "node:fs";

import { load } from "../../clients/js/src/index.js";

const model = await load(process.argv[2]);
const written = [];
for (const { texts, settings } of JSON.parse(readFileSync(0, "utf8"))) {
  const results = await model.generate(texts, { ...settings, details: true });
  written.push(results.map(({ tokens }) => Array.from(tokens)));
}
console.log(JSON.stringify(written));
