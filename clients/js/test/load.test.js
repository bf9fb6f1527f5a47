/** `load` and `Model`: files on both backends, damaged files, settings and inputs that are refused. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { after, before } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { load } from "../src/index.js";
import { gatherer, manifest, model } from "./onnx_bytes.js";

const ARTEFACT = fileURLToPath(new URL("../../../exported/char_lm_rnn/model.onnx", import.meta.url));
let bytes, folder;

before(async () => {
  bytes = new Uint8Array(await readFile(ARTEFACT));
  folder = await mkdtemp(path.join(tmpdir(), "tfseq-"));
});
after(() => rm(folder, { recursive: true }));

const refused = (message) => ({ name: "ArtefactError", message });

for (const backend of ["node", "wasm"]) {
  test(`a path, an address and bytes are the same file (${backend})`, async () => {
    const texts = [];
    for (const file of [ARTEFACT, pathToFileURL(ARTEFACT), bytes, bytes.buffer.slice(0)]) {
      const opened = await load(file, { backend, threads: 1 });
      texts.push(await opened.generate("The ", { maxLength: 20, temperature: 0 }));
      await opened.release();
    }
    assert.equal(texts[0].length, 20);
    assert.equal(new Set(texts).size, 1);
  });

  test(`a file that is cut is refused (${backend})`, async () => {
    for (const share of [0, 0.001, 0.3, 0.9, 0.999]) {
      const cut = bytes.subarray(0, Math.floor(share * bytes.length));
      await assert.rejects(load(cut, { backend }), refused(/^The file can't be used: .*(damaged|no tfseq manifest)/));
    }
  });

  test(`a graph that ONNX Runtime can't read is refused (${backend})`, async () => {
    const file = model({ tfseq: JSON.stringify(manifest()) });
    await assert.rejects(load(file, { backend }), refused(/damaged/));
  });
}

test("a file that is none is refused with its name", async () => {
  const text = path.join(folder, "text.onnx");
  await writeFile(text, "hello");
  await assert.rejects(load(text), refused(/text\.onnx can't be used: It is not an ONNX file/));
  await assert.rejects(load(path.join(folder, "none.onnx")), refused(/none\.onnx: no such file/));
  await assert.rejects(load(folder), refused(/it is a folder; expected an \.onnx file/));
});

test("a manifest of other inputs than the graph's is refused", async () => {
  const changed = gatherer();
  changed[Buffer.from(changed).indexOf('"name":"index"') + 8] = "u".charCodeAt(0);
  await assert.rejects(
    load(changed),
    refused(/manifest describes the inputs data, undex; the graph takes data, index/),
  );
});

test("options that there are not are refused", async () => {
  const refuse = (options, message) => assert.rejects(load(bytes, options), { name: "InputError", message });
  await refuse({ backend: "cuda" }, /backend is "cuda"; expected "node" or "wasm"/);
  await refuse({ threads: 0 }, /threads is 0; expected a whole number, 1 or more/);
});

test("what a file can't do is refused with what can", async () => {
  const opened = await load(bytes);
  const refuse = (options, message) =>
    assert.rejects(opened.generate("The ", options), { name: "InputError", message });
  await refuse({ lengthPenalty: 1 }, /no setting "lengthPenalty"; it has maxLength, temperature, topK, .*"sample"/);
  await refuse({ temperature: -1 }, /temperature is -1; expected a number, 0 or more/);
  await refuse({ temperature: "hot" }, /temperature is "hot"/);
  await refuse({ temperature: 1e39 }, /temperature is 1e\+39/);
  await refuse({ topK: 1.5 }, /topK is 1.5; expected a whole number/);
  await refuse({ seed: 2 ** 31 }, /seed is 2147483648; expected -2147483648 to 2147483647/);
  await refuse({ maxLength: -1 }, /maxLength is -1; expected 0 to/);
  assert.throws(() => opened.stream("The "), { name: "InputError", message: /generates whole texts; call generate/ });
  assert.throws(() => opened.chunks(), { name: "InputError", message: /no states to keep/ });
});

test("a file that keeps states says what reads it", async () => {
  const steps = fileURLToPath(new URL("../../../exported/frame_classification/model.step.onnx", import.meta.url));
  const opened = await load(steps);
  const message = /^model\.step\.onnx reads a sequence chunk by chunk, .*\(missing: gru_1_h\); call chunks\(\)/;
  const clip = { data: new Uint8Array(2 * 12 * 12), dims: [1, 2, 12, 12, 1] };
  for (const refused of [opened.predict({ inputs: clip }), opened.classify({ inputs: clip }), opened.classify(clip)]) {
    await assert.rejects(refused, { name: "InputError", message });
  }
  assert.deepEqual((await opened.chunks().predict({ inputs: clip })).output.dims, [1, 2, 10]);
});

test("a file that generates does not classify", async () => {
  const opened = await load(bytes);
  await assert.rejects(opened.classify("The "), { name: "InputError", message: /does not classify; call generate/ });
});

for (const [given, message] of [
  ["", /The prompt is empty; give at least one character/],
  [["a", ""], /Prompt 1 is empty/],
  [[], /There is no prompt/],
  [7, /The prompt is 7; expected a text/],
  [["a", 7], /expected a text, or an array of texts/],
]) {
  test(`${JSON.stringify(given)} is no prompt`, async () => {
    const opened = await load(bytes);
    await assert.rejects(opened.generate(given), { name: "InputError", message });
  });
}

test("nothing is written where nothing is asked for", async () => {
  const opened = await load(bytes);
  assert.equal(await opened.generate("The ", { maxLength: 0 }), "");
  assert.deepEqual(await opened.generate(["a", "b"], { maxLength: 0 }), ["", ""]);
});

for (const backend of ["node", "wasm"]) {
  test(`arrays in, arrays out, and a graph that fails says so (${backend})`, async () => {
    const opened = await load(gatherer(), { backend });
    const { element } = await opened.predict({ data: [0.5, 1.5, 2.5], index: 1 });
    assert.deepEqual([element.dtype, element.dims, element.toArray()], ["float32", [], 1.5]);
    await assert.rejects(opened.predict({ data: [1], index: 9 }), {
      name: "InputError",
      message: /^The graph can't run on data float32 \(1\), index int64 \(\)\. ONNX Runtime says: .*idx=9/,
    });
    await assert.rejects(opened.generate("a"), { name: "InputError", message: /predicts and does not generate/ });
  });
}

test("characters that the model never saw are named in a warning", async () => {
  const warned = new Promise((resolve) => process.once("warning", resolve));
  const opened = await load(bytes);
  await opened.generate("The ☃", { maxLength: 1 });
  const { name, message } = await warned;
  assert.equal(name, "UnknownCharacterWarning");
  assert.match(message, /never saw "☃"/);
});
