/** Reading an ONNX file's metadata, and files that are cut or none. */

import assert from "node:assert/strict";
import test from "node:test";

import { ArtefactError } from "../src/errors.js";
import { readManifest } from "../src/manifest.js";
import { readMetadata } from "../src/metadata.js";
import { entry, field, manifest, model, numberField } from "./onnx_bytes.js";

test("metadata is read wherever it stands, and the graph is stepped over", () => {
  const longGraph = Array(70_000).fill(0x72); // each byte the key of field 14
  const bytes = [...entry("a", "1"), ...field(7, longGraph), ...numberField(5, 2 ** 40), ...entry("ü", "ß\ufeff")];
  assert.deepEqual(
    [...readMetadata(Uint8Array.from(bytes))],
    [
      ["a", "1"],
      ["ü", "ß\ufeff"],
    ],
  );
});

test("numbers of 32 and 64 bits are stepped over", () => {
  const fixed = [20 * 8 + 5 - 128 + 128, 1, 1, 2, 3, 4, 21 * 8 + 1 - 128 + 128, 1, 1, 2, 3, 4, 5, 6, 7, 8];
  assert.deepEqual([...readMetadata(Uint8Array.from([...fixed, ...model({ a: "1" })]))], [["a", "1"]]);
});

test("the last of two entries of one name counts, as in ONNX Runtime", () => {
  const bytes = Uint8Array.from([...model({ a: "1" }), ...entry("a", "2")]);
  assert.equal(readMetadata(bytes).get("a"), "2");
});

test("an entry without a value is empty", () => {
  assert.equal(readMetadata(Uint8Array.from([...model({}), ...field(14, field(1, [97]))])).get("a"), "");
});

test("a file that is cut anywhere is refused", () => {
  const bytes = model({ tfseq: JSON.stringify(manifest()) });
  assert.equal(readManifest(readMetadata(bytes)).name, "test");
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => readManifest(readMetadata(bytes.subarray(0, length))), ArtefactError, `${length} bytes`);
  }
});

test("whatever the bytes are, the error is one of ours", () => {
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647);
  for (let round = 0; round < 3000; round++) {
    const bytes = Uint8Array.from({ length: random() % 60 }, () => random() % 256);
    try {
      readManifest(readMetadata(bytes));
      assert.fail("random bytes hold no manifest");
    } catch (error) {
      assert(error instanceof ArtefactError, `${error} for ${bytes}`);
    }
  }
});

for (const [what, bytes] of [
  ["a text", [...new TextEncoder().encode("Not an ONNX file.\n")]],
  ["nothing", []],
  ["a length of 2 ** 63", [...model({}), 14 * 8 + 2, ...Array(8).fill(255), 127]],
  ["an endless number", [...model({}), 8, ...Array(20).fill(255)]],
  ["metadata that is a number", [...model({}), ...numberField(14, 3)]],
  ["metadata that is not UTF-8", [...model({}), ...field(14, field(1, [0xff]))]],
  ["a group", [...model({}), 8 + 3]],
  ["no graph", entry("tfseq", JSON.stringify(manifest()))],
]) {
  test(`${what} is no ONNX file`, () => {
    assert.throws(() => readMetadata(Uint8Array.from(bytes)), {
      name: "ArtefactError",
      message: /damaged or truncated/,
    });
  });
}
