/** Character, code point and pair tokenizers, and what is refused. */

import assert from "node:assert/strict";
import test from "node:test";

import { loadTokenizer } from "../src/tokenizers.js";

const characters = (...symbols) => loadTokenizer({ kind: "characters", symbols });

test("a character's token id is its place in the symbols, and others are 0", async () => {
  const tokenizer = await characters("<unk>", "e", "h", "😀", "\ud800");
  assert.deepEqual(tokenizer.encode("he😀xÉ\ud800"), [2, 1, 3, 0, 0, 4]);
  assert.equal(tokenizer.decode([2, 1, 3, 0, 4]), "he😀\ufffd\ud800");
  assert.deepEqual(tokenizer.unknown("exéxe😀"), ["x", "é"]);
});

test("an unknown character is no padding", async () => {
  const padded = await characters("<pad>", "<unk>", "<start>", "<end>", "a");
  assert.deepEqual(padded.encode("a?<"), [4, 1, 1]);
  assert.equal(padded.decode([2, 4, 1, 3, 0, 0]), "a\ufffd");
  await assert.rejects(characters("<pad>", "a"), /no symbol "<unk>"/);
});

test("start and end are no text", async () => {
  const tokenizer = await characters("<unk>", "<start>", "<end>", "<", "s");
  assert.deepEqual(tokenizer.encode("<start>").slice(0, 2), [3, 4]);
  assert.equal(tokenizer.decode([1, 4, 2]), "s");
});

test("code points are themselves, lone surrogates included", async () => {
  const tokenizer = await loadTokenizer({ kind: "code_points", symbols: ["<unk>", "a"] });
  assert.deepEqual(tokenizer.encode("a\u0301😀\udc00"), [97, 0x301, 0x1f600, 0xdc00]);
  assert.equal(tokenizer.decode([97, 0x301, 0x1f600, 0xdc00]), "a\u0301😀\udc00");
  assert.deepEqual(tokenizer.unknown("abb"), ["b"]);
  assert.equal(tokenizer.decode([]), "");
});

test("a pair reads with one alphabet and writes with the other", async () => {
  const [source, target] = ["ab", "xyz"].map((text) => ({ kind: "characters", symbols: ["<unk>", ...text] }));
  const tokenizer = await loadTokenizer({ kind: "pair", source, target });
  assert.deepEqual(tokenizer.encode("bax"), [2, 1, 0]);
  assert.equal(tokenizer.decode([3, 1]), "zx");
  assert.deepEqual(tokenizer.unknown("ax"), ["x"]);
  assert.equal(tokenizer.vocabularySize, 4);
});

test("ids that are no tokens are refused", async () => {
  const tokenizer = await characters("<unk>", "a");
  const points = await loadTokenizer({ kind: "code_points", symbols: [] });
  for (const ids of [[2], [-1], [0.5]]) assert.throws(() => tokenizer.decode(ids), { name: "InputError" });
  assert.throws(() => points.decode([0x110000]), { name: "InputError" });
});

for (const [what, description, message] of [
  ["no list", { kind: "characters" }, /expected \{"kind": "characters"/],
  ["no unknown symbol", { kind: "characters", symbols: ["a"] }, /first symbol is "a"/],
  ["two characters in one", { kind: "characters", symbols: ["<unk>", "ab"] }, /"ab" is not a single character/],
  ["a character twice", { kind: "characters", symbols: ["<unk>", "a", "a"] }, /"a" is repeated/],
  ["a number", { kind: "code_points", symbols: [1] }, /no text/],
  ["an unknown kind", { kind: "phonemes" }, /no tokenizer of kind "phonemes" \(known: characters, code_points/],
  ["no kind", {}, /no tokenizer of kind undefined/],
  ["half a pair", { kind: "pair", source: { kind: "code_points", symbols: [] } }, /no tokenizer of kind undefined/],
]) {
  test(`a tokenizer with ${what} is refused`, async () => {
    await assert.rejects(loadTokenizer(description), { name: "ArtefactError", message });
  });
}
