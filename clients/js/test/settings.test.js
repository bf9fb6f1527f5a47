/** Decoding settings: defaults, names and ranges. */

import assert from "node:assert/strict";
import test from "node:test";

import { checkedLength, checkedSettings, describedSettings, lengthName } from "../src/settings.js";

const scalar = (name, dtype = "int32") => ({ name, dtype, shape: [] });
const manifest = (decoding, ...inputs) => ({ decoding, inputs, states: [{ input: "carried" }] });
const values = (settings) => Object.fromEntries(Object.entries(settings).map(([name, { data }]) => [name, data[0]]));

test("settings are the given ones, then the file's, then those that do nothing", () => {
  const inputs = [scalar("temperature", "float32"), scalar("top_k"), scalar("top_p", "float32"), scalar("seed")];
  const file = manifest({ strategy: "sample", temperature: 0.5, top_k: 3 }, ...inputs, scalar("carried"));
  const chosen = checkedSettings(file, { topK: 7, seed: null, topP: undefined });
  assert.deepEqual(values(chosen), { temperature: 0.5, top_k: 7, top_p: 1, seed: 0 });
  assert.deepEqual(chosen.temperature.dims, []);
});

test("a file describes the settings that only its strategy has", () => {
  const alpha = { dtype: "float32", neutral: 0, low: 0, high: 1, above: true, description: "how much" };
  const file = manifest({ alpha: 0.5, settings: { alpha } }, scalar("alpha", "float32"), scalar("top_k"));
  assert.deepEqual(values(checkedSettings(file, {})), { alpha: 0.5, top_k: 0 });
  assert.deepEqual(describedSettings(file).alpha, { ...alpha, default: 0.5 });
  assert.equal(describedSettings(file).topK.high, 2 ** 31 - 1);
  assert.throws(() => checkedSettings(file, { alpha: 0 }), { message: /alpha is 0; expected a number, more than 0/ });
});

test("the first files that tfseq wrote call the length new_tokens", () => {
  assert.equal(lengthName(manifest(null, scalar("new_tokens"))), "new_tokens");
  assert.equal(lengthName(manifest(null, scalar("max_length"))), "max_length");
  assert.deepEqual(checkedSettings(manifest(null, scalar("new_tokens")), {}), {});
});

test("the length is the given one, then the file's, then 200, as far as there is room", () => {
  assert.equal(checkedLength(manifest({ max_length: 9 }), 5, 1), 5);
  assert.equal(checkedLength(manifest({ max_length: 9 }), undefined, 1), 9);
  assert.equal(checkedLength(manifest(null), null, 1), 200);
  assert.equal(checkedLength(manifest({ max_positions: 20 }), undefined, 15), 6);
});

for (const [name, dtype, value, message] of [
  ["top_p", "float32", 0, /topP is 0; expected a number, more than 0, 1 at most/],
  ["top_p", "float32", 1.5, /topP is 1.5/],
  ["repetition_penalty", "float32", 0, /expected a number, more than 0\./],
  ["length_penalty", "float32", Infinity, /lengthPenalty is Infinity; expected a number\./],
  ["length_penalty", "float32", NaN, /lengthPenalty is NaN/],
  ["min_length", "int32", -1, /minLength is -1; expected 0 to 2147483647/],
  ["min_length", "int32", "3", /minLength is "3"; expected a whole number/],
  ["later", "int32", undefined, /setting "later" has no default/],
]) {
  test(`${name} can't be ${value}`, () => {
    const camel = name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
    const check = () => checkedSettings(manifest({}, scalar(name, dtype)), { [camel]: value });
    assert.throws(check, { name: "InputError", message });
  });
}
