/** Reading manifests: defaults, later versions, damage. */

import assert from "node:assert/strict";
import test from "node:test";

import { readManifest } from "../src/manifest.js";
import { manifest } from "./onnx_bytes.js";

const read = (json) => readManifest(new Map([["tfseq", typeof json === "string" ? json : JSON.stringify(json)]]));

test("what is left out has a value", () => {
  const { tokenizer, decoding, states, notes } = read(manifest());
  assert.deepEqual({ tokenizer, decoding, states, notes }, { tokenizer: null, decoding: null, states: [], notes: [] });
});

test("keys that this version does not know are kept", () => {
  assert.equal(read(manifest({ later: 7 })).later, 7);
});

test("Python's NaN and Infinity are read, and left alone in texts", () => {
  const json = JSON.stringify(manifest({ notes: ['NaN "Infinity" \\'], provenance: { a: 1, b: 2, c: 3 } }));
  const value = read(
    json.replace('"a":1', '"a":NaN').replace('"b":2', '"b":-Infinity').replace('"c":3', '"c":[Infinity]'),
  );
  assert.deepEqual(value.provenance, { a: null, b: -Infinity, c: [Infinity] });
  assert.deepEqual(value.notes, ['NaN "Infinity" \\']);
});

const GENERATES = manifest({
  task: "generate",
  inputs: [{ name: "prompt", dtype: "int32", shape: ["batch", "time"] }],
  outputs: [{ name: "tokens", dtype: "int32", shape: ["batch", "new_time"] }],
  decoding: { start: 1 },
});

for (const [what, json, message] of [
  ["a newer format", manifest({ format: 99 }), /format 99.*up to \d+\. Upgrade/],
  ["no format", manifest({ format: "1" }), /format is "1"; expected a whole number/],
  ["an unknown task", manifest({ task: "dream" }), /task is "dream"; expected one of predict, generate/],
  ["something missing", manifest({ inputs: undefined, opset: 1.5 }), /an object with inputs, too/],
  ["a tensor without a type", manifest({ inputs: [{ name: "x", shape: [] }] }), /inputs\[0\] is .*an object with dtype, too/],
  ["a state without an output", manifest({ states: [{ input: "h", initial: 0 }] }), /states\[0\] is .*an object with output, too/],
  ["a note that is none", manifest({ notes: 5 }), /notes is 5; expected an array/],
  ["a type that is none", manifest({ inputs: [{ name: "x", dtype: "O", shape: [] }] }), /inputs\[0\].dtype is "O"/],
  ["a state of another input", manifest({ states: [{ input: "?", output: "?", initial: 0 }] }), /a state has the input "\?"/],
  ["fewer labels than classes", manifest({ outputs: [{ name: "y", dtype: "float32", shape: ["batch", 3] }], labels: ["a"] }), /1 classes; its output "y" has 3/],
  ["values in values", `{"provenance": ${'{"a":'.repeat(50)}1${"}".repeat(50)}}`, /an object with format|nested/],
  ["a report that is none", manifest({ parity: { passed: "yes" } }), /parity.passed is "yes"; expected true or false/],
  ["a start and nothing to read", GENERATES, /begins with a start token, and there is no source/],
  ["a list", [], /expected a JSON object/],
  ["no JSON", "{", /not JSON/],
]) {
  test(`a manifest with ${what} is refused`, () => {
    assert.throws(() => read(json), { name: "ArtefactError", message });
  });
}

test("a file of another maker is refused", () => {
  assert.throws(() => readManifest(new Map([["author", "me"]])), {
    name: "ArtefactError",
    message: /no tfseq manifest/,
  });
});
