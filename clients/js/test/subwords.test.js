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

test("bytes stand for what a Unigram vocabulary lacks", async () => {
  const vocab = [["<unk>", 0], ["a", -1], ...["C3", "A9"].map((byte) => [`<0x${byte}>`, -9])];
  const model = { type: "Unigram", vocab, unk_id: 0, byte_fallback: true };
  const tokenizer = await loadTokenizer(description([], { pre_tokenizer: null, model }));
  assert.deepEqual(tokenizer.encode("aéa"), [1, 2, 3, 1]);
  assert.deepEqual(tokenizer.encode("aèa"), [1, 0, 1]);
});

const wordPieces = (vocab, more = {}) =>
  description([], {
    normalizer: { type: "Replace", pattern: { Regex: "[\\x{2026}]" }, content: "\u{f002e}" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: "[ \\t]|\\p{Cc}" }, behavior: "Removed", invert: false },
        { type: "Split", pattern: { Regex: "[!-/]|\\p{P}" }, behavior: "Isolated", invert: false },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "WordPiece", prefix: "##", cleanup: false },
        { type: "Replace", pattern: { String: "\u{f002e}" }, content: "." },
      ],
    },
    model: {
      type: "WordPiece",
      vocab,
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 4,
    },
    ...more,
  });

test("words become pieces, the longest first", async () => {
  const tokenizer = await loadTokenizer(
    wordPieces({ "[UNK]": 0, a: 1, ab: 2, "##c": 3, ".": 4, "##.": 5, "##\u{f002e}": 5 }),
  );
  assert.equal(tokenizer.vocabularySize, 6); // two tokens share an id
  assert.deepEqual(tokenizer.encode("abc\tac. a…\u0001ax abccc"), [2, 3, 1, 3, 4, 1, 5, 0, 0]);
  assert.equal(tokenizer.decode([2, 3, 4, 1, 5]), "abc . a.");
  assert.deepEqual(tokenizer.unknown("abc x… ax abccc"), ["x.", "ax", "abccc"]);
});

test("added tokens are found in texts as they are, or in normalized ones", async () => {
  const added = [
    { id: 1, content: "<a b>", special: false, normalized: true },
    { id: 2, content: "<c d>", special: false, normalized: false },
  ];
  const tokenizer = await loadTokenizer(
    description(["<unk>", "<a_b>", "<c d>", "x", "_"], {
      normalizer: { type: "Replace", pattern: { String: " " }, content: "_" },
      more: {},
      added_tokens: added,
    }),
  );
  assert.deepEqual(tokenizer.encode("<a b>x<a_b> <c d>"), [1, 3, 1, 4, 2]);
  assert.deepEqual(tokenizer.encode("<c_d>"), [0]);
});

test("nothing is put before an empty text", async () => {
  const normalizer = {
    type: "Sequence",
    normalizers: [
      { type: "Replace", pattern: { Regex: "^ +" }, content: "" },
      { type: "Prepend", prepend: "_" },
    ],
  };
  const tokenizer = await loadTokenizer(description(["<unk>", "_a"], { normalizer }));
  assert.deepEqual(tokenizer.encode("  a"), [1]);
  assert.deepEqual(tokenizer.encode("  "), []);
});

const precompiled = (bytes) =>
  description(["a"], { normalizer: { type: "Precompiled", precompiled_charsmap: Buffer.from(bytes).toString("base64") } });

for (const [what, value, message] of [
  ["a map of characters that is cut off", precompiled([8, 0, 0, 0, 1, 2, 3, 4]), /charsmap is cut off/],
  ["a map of characters without a size", precompiled([8]), /damaged/],
  ["word pieces without an unknown one", wordPieces({}, { model: { type: "WordPiece", vocab: { a: 0 } } }), /WordPiece/],
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
