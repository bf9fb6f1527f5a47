// What a file makes of each line it is given: node lines.mjs model.onnx < sources.txt > answers.txt

import { readFileSync } from "node:fs";

import { load } from "../src/index.js";

const ROWS = 100; // at a time, of similar lengths

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("node lines.mjs model.onnx < sources.txt > answers.txt");
  process.exit(2);
}
const model = await load(path);
const lines = readFileSync(0, "utf-8").replace(/\n$/, "").split("\n");
const order = lines.map((_, row) => row).sort((a, b) => lines[a].length - lines[b].length);
const answers = new Array(lines.length);
for (let start = 0; start < order.length; start += ROWS) {
  const rows = order.slice(start, start + ROWS);
  const written = await model.generate(rows.map((row) => lines[row]));
  rows.forEach((row, i) => {
    answers[row] = written[i].replaceAll("\n", " ");
  });
}
process.stdout.write(answers.join("\n") + "\n");
