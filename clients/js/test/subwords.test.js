/** Subword tokenizers, and parts of a tokenizer.json that are refused. */

import assert from "node:assert/strict";
import test from "node:test";

import { loadTokenizer } from "../src/tokenizers.js";

/** A tokenizer of words between spaces; words[i] is token i. */
function description(words, { special = [], more = {}, ...parts } = {}) {
  const json = {
    version: "1.0",
    added_tokens: special.map((content) => ({ id: words.indexOf(content), content, special: true })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: Object.fromEntries(words.map((word, i) => [word, i])), unk_token: "<unk>" },
    ...parts,
  };
  return { kind: "tokenizers", json: JSON.stringify(json), start: null, end: null, append: [], ...more };
}

test("words are numbered as the vocabulary says", async () => {
  const words = ["<pad>", "<unk>", "<end>", "two", "men"];
  const tokenizer = await loadTokenizer(description(words, { special: ["<pad>", "<unk>", "<end>"], more: { end: 2 } }));
  assert.deepEqual(tokenizer.encode("men two\u0085men"), [4, 3, 4]);
  assert.deepEqual(tokenizer.encode("men\ufefftwo"), [1]);
  assert.deepEqual(tokenizer.unknown("men fly two by two"), ["fly", "by"]);
  assert.equal(tokenizer.decode([0, 4, 1, 3, 2]), "men <unk> two");
  assert.equal(tokenizer.decode([0, 2]), "");
  assert.equal(tokenizer.vocabularySize, 5);
});

test("small letters are Unicode's, one character at a time", async () => {
  const tokenizer = await loadTokenizer(description(["<unk>", "ασ", "i\u0307"], { normalizer: { type: "Lowercase" } }));
  assert.deepEqual(tokenizer.encode("ΑΣ İ"), [1, 2]);
});

test("words and marks part where Unicode has them part", async () => {
  const words = ["<unk>", "naïve", "—", "Привет", "!?", "x²"];
  const tokenizer = await loadTokenizer(description(words, { pre_tokenizer: { type: "Whitespace" } }));
  assert.deepEqual(tokenizer.encode("naïve—Привет!?"), [1, 2, 3, 4]);
});

test("lone surrogates are unknown", async () => {
  const tokenizer = await loadTokenizer(description(["<unk>", "a\ufffdb"]));
  assert.deepEqual(tokenizer.encode("a\ud800b"), [1]);
  assert.deepEqual(tokenizer.unknown("a\ud800b😀"), ["\ud800", "a\ufffdb😀"]);
});

const bytes = (parts) =>
  description(["<end>", "a", "b", "ab", "Ġ", "Ġab", "Ã", "©"], {
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    decoder: { type: "ByteLevel" },
    special: ["<end>"],
    model: {
      type: "BPE",
      vocab: { "<end>": 0, a: 1, b: 2, ab: 3, Ġ: 4, Ġab: 5, Ã: 6, "©": 7 },
      merges: [
        ["a", "b"],
        ["Ġ", "ab"],
      ],
    },
    ...parts,
  });

test("bytes are merged in the order of the merges, and come back as text", async () => {
  const tokenizer = await loadTokenizer(bytes());
  assert.deepEqual(tokenizer.encode("ab abé"), [3, 5, 6, 7]);
  assert.equal(tokenizer.decode([3, 5, 6, 7]), "ab abé");
  assert.equal(tokenizer.decode([3, 6]), "ab\ufffd");
  assert(tokenizer.splitsCharacters);
});

test("of equal pieces the one that begins first is chosen, as in Python", async () => {
  const vocab = [
    ["<unk>", 0],
    ["a", -1],
    ["aa", -2],
    ["b", -1],
  ];
  const tokenizer = await loadTokenizer(
    description([], { pre_tokenizer: null, model: { type: "Unigram", vocab, unk_id: 0 } }),
  );
  assert.deepEqual(tokenizer.encode("aaxb"), [2, 0, 3]);
  assert.deepEqual(tokenizer.unknown("aaxb"), ["x"]);
});

for (const [what, value, message] of [
  ["no JSON", { ...description([]), json: "{" }, /damaged/],
  ["no tokenizer", { ...description([]), json: "{}" }, /damaged/],
  ["no text", { ...description([]), json: 7 }, /expected \{"kind": "tokenizers"/],
  ["an end that is no token", description(["a"], { more: { end: 1 } }), /end is 1 in a vocabulary of 1/],
  ["an append that is no token", description(["a"], { more: { append: [9] } }), /append is 9/],
  ["an unknown splitter", description(["a"], { pre_tokenizer: { type: "Morse" } }), /pre-tokenizer \{"type":"Morse"\}/],
  ["one that differs", description(["a"], { normalizer: { type: "BertNormalizer" } }), /run it in Python/],
  ["an unknown model", description(["a"], { model: { type: "WordPiece", vocab: { a: 0 } } }), /a model .*WordPiece/],
]) {
  test(`a tokenizer with ${what} is refused in one line`, async () => {
    await assert.rejects(loadTokenizer(value), (error) => {
      assert.equal(error.name, "ArtefactError");
      assert.match(error.message, message);
      assert(!error.message.includes("\n"));
      return true;
    });
  });
}
