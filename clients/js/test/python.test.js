/**
 * Outputs of JavaScript against those of Python's runtime, for the files and answers that test/fixtures.py writes to a
 * folder, which the environment variable TFSEQ_FIXTURES names.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";

import { load } from "../src/index.js";
import { loadTokenizer } from "../src/tokenizers.js";

const FOLDER = process.env.TFSEQ_FIXTURES;
const WASM_BATCHES = 5; // of each file; all of them run natively
const answers = FOLDER
  ? JSON.parse(readFileSync(path.join(FOLDER, "answers.json"), "utf8"))
  : { tokenizers: [], generate: [], answer: [], stream: [], predict: null };

test("the answers of Python are there", { skip: FOLDER ? false : "TFSEQ_FIXTURES names no folder" }, () => {
  assert(answers.generate.length >= 10);
});

process.removeAllListeners("warning"); // of characters that no model saw

const camelCase = (settings) =>
  Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [name.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), value]),
  );

/** Two numbers that were summed up in other orders. */
const close = (a, b) => Math.abs(a - b) <= 1e-4 * Math.max(1, Math.abs(b));

function assertClose(actual, expected, what) {
  if (!Array.isArray(expected)) {
    if (typeof expected !== "number") assert.equal(actual, expected, what);
    else assert(close(Number(actual), expected), `${what}: ${actual} in place of ${expected}`);
    return;
  }
  assert.equal(actual.length, expected.length, what);
  expected.forEach((value, i) => assertClose(actual[i], value, `${what}[${i}]`));
}

for (const { name, description, texts, ids, decoded } of answers.tokenizers) {
  test(`tokens of ${texts.length} texts: ${name}`, async () => {
    const tokenizer = await loadTokenizer(description);
    texts.forEach((text, i) => assert.deepEqual(tokenizer.encode(text), ids[i], JSON.stringify(text)));
    for (const [row, text] of decoded) assert.equal(tokenizer.decode(row), text, JSON.stringify(row));
  });
}

for (const { file, manifest, batches } of answers.generate) {
  const name = path.relative(process.cwd(), file).split(path.sep).slice(-2).join("/");
  for (const backend of ["node", "wasm"]) {
    const asked = backend === "wasm" ? batches.slice(0, WASM_BATCHES) : batches;
    const count = asked.reduce((sum, { given }) => sum + given.length, 0);
    test(`texts of ${name}, ${count} inputs, ${backend}`, async (t) => {
      const model = await load(file, { backend, threads: 1 });
      assert.deepEqual(JSON.parse(JSON.stringify(model.manifest)), manifest);
      const different = [];
      for (const { given, settings, expected } of asked) {
        const results = await model.generate(given, { ...camelCase(settings), details: true });
        results.forEach(({ text, tokens, score, attention }, i) => {
          if (JSON.stringify(tokens) !== JSON.stringify(expected[i].tokens)) {
            different.push({ given: given[i], settings, text, expected: expected[i].text });
            return;
          }
          assert.equal(text, expected[i].text);
          assertClose(score, expected[i].score, "score");
          assertClose(attention, expected[i].attention, "attention");
        });
      }
      t.diagnostic(`${name}, ${backend}: ${count - different.length} of ${count} identical`);
      assert.deepEqual(different, []);
    });
  }
}

for (const { file, given, classes, outputs } of answers.answer) {
  const name = path.relative(process.cwd(), file).split(path.sep).slice(-2).join("/");
  for (const backend of ["node", "wasm"]) {
    test(`answers of ${name}, ${backend}`, async () => {
      const model = await load(file, { backend, threads: 1 });
      if (outputs) {
        const found = await model.predict(given);
        for (const [output, expected] of Object.entries(outputs)) assertClose(found[output].toArray(), expected, output);
        await assert.rejects(model.classify(given), /does not name its classes; call predict/);
        return;
      }
      const pairs = (found) => (Array.isArray(found) ? found.map(pairs) : [found.name, found.probability]);
      assertClose(pairs(await model.classify(given)), classes, "classes");
      if (typeof given[0] === "string") assertClose(pairs(await model.classify(given[0])), classes[0], "class");
    });
  }
}

for (const { file, texts } of answers.stream) {
  for (const backend of ["node", "wasm"]) {
    test(`streams of ${path.basename(file)}, ${backend}`, async () => {
      const model = await load(file, { backend, threads: 1 });
      const collect = async (stream) => {
        const pieces = [];
        for await (const piece of stream) pieces.push(piece);
        return pieces;
      };
      for (const { given, settings, expected } of backend === "wasm" ? texts.slice(0, 5) : texts) {
        const stream = model.stream(given, camelCase(settings));
        assert.deepEqual(await collect(stream), expected.pieces);
        if (expected.more) assert.deepEqual(await collect(stream.more(" and", { maxLength: 5 })), expected.more);
        assert.equal(stream.ended, expected.more === null);
        assert.deepEqual(stream.tokens, expected.tokens);
        assertClose(stream.score, expected.score, "score");
      }
    });
  }
}

if (answers.predict) {
  const { forward, chunks } = answers.predict;
  for (const backend of ["node", "wasm"]) {
    test(`arrays of ${path.basename(forward.file)}, ${backend}`, async () => {
      const model = await load(forward.file, { backend, threads: 1 });
      const outputs = await model.predict(forward.given);
      assert.deepEqual(Object.keys(outputs).sort(), Object.keys(forward.expected).sort());
      for (const { name, dtype } of model.manifest.outputs) {
        assert.equal(outputs[name].dtype, dtype);
        assertClose(outputs[name].toArray(), forward.expected[name], name);
      }
    });

    test(`chunks of ${path.basename(chunks.file)}, ${backend}`, async () => {
      const model = await load(chunks.file, { backend, threads: 1 });
      const reader = model.chunks();
      for (const { given, expected } of chunks.chunks) {
        const [output] = Object.values(await reader.predict(given));
        assertClose(output.toArray(), expected, "outputs");
      }
    });
  }
}
