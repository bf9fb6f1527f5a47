/** Tokenizers of words: by hand, as test_word_tokenizer.py has them, and what is refused. */

import assert from "node:assert/strict";
import test from "node:test";

import { withTexts } from "../src/classification.js";
import { paddedTokens } from "../src/generation.js";
import { loadTokenizer } from "../src/tokenizers.js";

const WORDS = { kind: "words", words: ["", "[UNK]", "the", "cat", "sat", "the cat"] };
process.removeAllListeners("warning"); // of words that no model saw

const CASES = [
  [{}, "the cat  sat\non", [2, 3, 4, 1]],
  [{}, "The cat. [UNK] ", [1, 1, 1]],
  [{ lower: true }, "THE cat.", [2, 1]],
  [{ strip_punctuation: true }, "the, c'a-t!", [2, 3]],
  [{ strip_punctuation: "¿." }, "¿the cat.,", [2, 1]],
  [{ strip_punctuation: "" }, "the. cat", [1, 3]],
  [{ length: 3 }, "the cat sat the", [2, 3, 4]],
  [{ length: 3, pad: false }, "the cat", [2, 3]],
  [{ length: 1, pad: false }, "the cat", [2]],
  [{ length: 3 }, "", [0, 0, 0]],
  [{ ngrams: [1, 2] }, "the cat sat", [2, 3, 4, 5, 1]],
  [{ ngrams: [2] }, "the", []],
  [{}, " \t\r\v\f\n", []],
  [{}, "the\u00a0cat", [1]],
];

for (const [rules, text, ids] of CASES) {
  test(`${JSON.stringify(text)} by ${JSON.stringify(rules)}`, async () => {
    assert.deepEqual((await loadTokenizer({ ...WORDS, ...rules })).encode(text), ids);
  });
}

test("words come back with spaces between them", async () => {
  const tokenizer = await loadTokenizer(WORDS);
  assert.equal(tokenizer.decode([2, 3, 1, 0, 0]), "the cat \ufffd");
  const { words } = WORDS;
  const ended = await loadTokenizer({ ...WORDS, words: [...words, ""], start: 2, end: 4 });
  assert.equal(ended.decode([2, 3, 1, 6, 4, 0]), "cat \ufffd \ufffd");
  assert.deepEqual(tokenizer.unknown("a cat on a mat"), ["a", "on", "mat"]);
});

test("a text among others may be empty, and not all of them", async () => {
  const tokenizer = await loadTokenizer(WORDS);
  assert.deepEqual(paddedTokens(tokenizer, ["the dog", "", "cat"], "text").padded.toArray(), [[2, 1], [0, 0], [3, 0]]);
  assert.throws(() => paddedTokens(tokenizer, [" ", ""], "text"), /makes no token of the text " "/);
});

test("texts are taken for token ids, and for strings, one for each row", async () => {
  const inputs = [
    { name: "ids", dtype: "int32", shape: ["batch", "time"] },
    { name: "colour", dtype: "string", shape: ["batch", 1] },
  ];
  const read = withTexts({ inputs }, await loadTokenizer(WORDS), { ids: [["the cat"], ["sat"]], colour: ["red", "blue"] });
  assert.deepEqual(read.ids.toArray(), [[2, 3], [4, 0]]);
  assert.deepEqual(read.colour, { data: ["red", "blue"], dims: [2, 1] });
  assert.deepEqual(withTexts({ inputs }, null, { ids: [[1, 2]] }), { ids: [[1, 2]] });
});

for (const [change, message] of [
  [{ words: ["a", "b"] }, /begins with ""/],
  [{ words: "ab" }, /begins with ""/],
  [{ split: "commas" }, /"commas"; expected whitespace or character/],
  [{ lower: "no" }, /true or false/],
  [{ pad: 1 }, /true or false/],
  [{ strip_punctuation: 3 }, /characters to strip/],
  [{ end: 6 }, /start and end are tokens/],
  [{ ngrams: 2 }, /ngrams is no array/],
  [{ ngrams: [0] }, /whole numbers of at least 1/],
  [{ length: 2.5 }, /whole numbers of at least 1/],
]) {
  test(`damaged: ${JSON.stringify(change)}`, async () => {
    await assert.rejects(async () => loadTokenizer({ ...WORDS, ...change }), message);
  });
}
