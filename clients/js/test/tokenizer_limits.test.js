/** Hostile tokenizers, drawn at random: each is refused as an artefact, or is one that reads and writes texts. */

import assert from "node:assert/strict";
import test from "node:test";

import { ArtefactError, InputError, TfseqError } from "../src/errors.js";
import { Tensor, requireTokens } from "../src/tensors.js";
import { loadTokenizer } from "../src/tokenizers.js";

const WORDS = { "<pad>": 0, "<unk>": 1, the: 2, cat: 3 };

function sound() {
  return {
    version: "1.0",
    added_tokens: [{ id: 1, content: "<unk>", special: true }],
    normalizer: { type: "Sequence", normalizers: [{ type: "Lowercase" }, replacing("x", "y")] },
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: { ...WORDS }, unk_token: "<unk>" },
  };
}

const replacing = (from, to) => ({ type: "Replace", pattern: { String: from }, content: to });
const described = (json) => ({ kind: "tokenizers", json: JSON.stringify(json), start: null, end: null, append: [] });

function nested(depth) {
  return depth ? { type: "Sequence", normalizers: [nested(depth - 1)] } : { type: "Lowercase" };
}

const REFUSED = {
  "an id of 2^32 - 1": (json) => (json.model.vocab.cat = 2 ** 32 - 1),
  "an id below 0": (json) => (json.model.vocab.cat = -1),
  "an id that is a text": (json) => (json.model.vocab.cat = "3"),
  "an added token of a large id": (json) => json.added_tokens.push({ id: 2 ** 31, content: "z", special: true }),
  "an added token that is no text": (json) => json.added_tokens.push({ id: 5, content: 7, special: false }),
  "added tokens that are none": (json) => (json.added_tokens = { a: 1 }),
  "an unknown token that is a number": (json) => (json.model.unk_token = 5),
  "replacements of replacements": (json) => (json.normalizer.normalizers = Array(30).fill(replacing("a", "aa"))),
  "a long replacement": (json) => (json.normalizer = replacing("a", "a".repeat(1000))),
  "a replacement of nothing": (json) => (json.normalizer = replacing("", "a".repeat(100))),
  "steps nested deeply": (json) => (json.normalizer = nested(20)),
  "steps nested very deeply": (json) => (json.normalizer = nested(2000)),
  "a step that is none": (json) => (json.normalizer = { type: "Sequence", normalizers: [5] }),
  "no model": (json) => delete json.model,
  "no vocabulary": (json) => delete json.model.vocab,
};

for (const [name, change] of Object.entries(REFUSED)) {
  test(`${name} is refused`, async () => {
    const json = sound();
    change(json);
    await assert.rejects(loadTokenizer(described(json)), ArtefactError);
  });
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). @param {number} seed */
function drawing(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ODD = [null, true, 0, -1, 1.5, 2 ** 32, 1e308, "", "x", "\ud800", [], {}, [[]], [null], { a: { b: 1 } }, "a".repeat(3000)];

function damage(draw, value) {
  let at = value;
  for (;;) {
    const keys = Object.keys(at);
    if (!keys.length) return;
    const key = keys[Math.floor(draw() * keys.length)];
    if (at[key] && typeof at[key] === "object" && draw() < 0.75) at = at[key];
    else if (draw() < 0.2) return void (Array.isArray(at) ? at.splice(Number(key), 1) : delete at[key]);
    else return void (at[key] = ODD[Math.floor(draw() * ODD.length)]);
  }
}

test("a tokenizer with any value changed is refused or works", async () => {
  const first = Math.floor(Date.now() / 86_400_000) * 1000; // others every day
  let taken = 0;
  for (let seed = first; seed < first + 1000; seed++) {
    const draw = drawing(seed);
    const description = described(sound());
    const json = sound();
    for (let times = Math.ceil(draw() * 2); times > 0; times--) damage(draw, draw() < 0.8 ? json : description);
    if (typeof description.json === "string" && draw() < 0.9) description.json = JSON.stringify(json);
    try {
      const tokenizer = await loadTokenizer(description);
      const ids = tokenizer.encode("the cat \ud800 xx");
      tokenizer.unknown("the dog");
      assert.equal(typeof tokenizer.decode(ids), "string", `seed ${seed}`);
      taken++;
    } catch (error) {
      assert.ok(error instanceof TfseqError, `seed ${seed}: ${/** @type {Error} */ (error).stack}`);
    }
  }
  assert.ok(taken > 50 && taken < 950, `${taken} of 1000 were taken`);
});

test("tokens outside the vocabulary are refused", () => {
  const feeds = (...ids) => ({ tokens: new Tensor("int32", Int32Array.from(ids), [1, ids.length]) });
  requireTokens({ tokens: 5 }, feeds(0, 4));
  for (const outside of [-1, 5, 2 ** 31 - 1]) {
    assert.throws(() => requireTokens({ tokens: 5 }, feeds(0, outside)), InputError);
  }
});
