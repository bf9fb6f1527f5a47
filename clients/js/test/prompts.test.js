/** Prompts beside sources: what a file is given for them, and what is refused. */

import assert from "node:assert/strict";
import test from "node:test";

import { read } from "../src/generation.js";
import { loadTokenizer } from "../src/tokenizers.js";

const int = (name, ...shape) => ({ name, dtype: "int32", shape });
const letters = await loadTokenizer({ kind: "characters", symbols: ["<unk>", ..."abcdefghij"] });
const source = int("source", "batch", "source_time");
const withPrompts = {
  task: "generate",
  inputs: [source, int("prompt", "batch", "time"), int("prompt_length", "batch"), int("max_length")],
  states: [],
  decoding: { strategy: "greedy", start: 1, end: 2 },
};
const withoutPrompts = { ...withPrompts, inputs: [source, int("max_length")] };
const ofPrompts = { ...withPrompts, inputs: withPrompts.inputs.slice(1), decoding: { start: null } };

test("prompts beside sources are texts or token ids, for all rows or one for each", () => {
  const given = (prompt, manifest = withPrompts) => {
    const { feeds, before, ahead } = read(manifest, letters, ["abc", "d", "ef"], prompt);
    assert.deepEqual(Object.keys(feeds), ["source", "prompt", "prompt_length"]);
    const { prompt: tokens, prompt_length: lengths } = feeds;
    assert.deepEqual(
      tokens.toArray().map((row, i) => row.slice(0, lengths.data[i])),
      before,
    );
    assert.equal(ahead, 1 + Math.max(...lengths.data));
    return before;
  };
  for (const none of [undefined, null, "", [], ["", [], ""]]) assert.deepEqual(given(none), [[], [], []]);
  for (const one of ["ab", [1, 2], Int32Array.of(1, 2), BigInt64Array.of(1n, 2n)]) {
    assert.deepEqual(given(one), Array(3).fill([1, 2]));
  }
  for (const each of [["abc", "", "j"], [[1, 2, 3], [], [10]], ["abc", [], Int32Array.of(10)]]) {
    assert.deepEqual(given(each), [[1, 2, 3], [], [10]]);
  }
});

test("prompts that can't be are refused", () => {
  const refuse = (prompt, message, manifest = withPrompts) =>
    assert.throws(() => read(manifest, letters, ["a", "b"], prompt), { name: "InputError", message });
  refuse(7, /The prompt is 7; expected a text, token ids, or an array of these/);
  refuse(["a", "b", "c"], /There are 3 prompts beside 2 sources; give one for each, or one for all/);
  refuse([[1], [11]], /Token 11 is outside the vocabulary of 11/);
  refuse([0.5], /Token 0.5 is outside the vocabulary/);
  refuse(["a", null], /A prompt is null; expected a text or token ids/);
  refuse("a", /takes no prompt beside its source; export the model with prefix=True/, withoutPrompts);
  refuse("a", /continues prompts; give the prompt as the text/, ofPrompts);
});

test("a file that takes no prompts is given none", () => {
  assert.deepEqual(Object.keys(read(withoutPrompts, letters, "abc").feeds), ["source"]);
});

test("a prompt is of the vocabulary that is written", async () => {
  const symbols = (text) => ({ kind: "characters", symbols: ["<unk>", ...text] });
  const pair = await loadTokenizer({ kind: "pair", source: symbols("abc"), target: symbols("xyz") });
  const { feeds, before } = read(withPrompts, pair, "cab", "yx");
  assert.deepEqual([feeds.source.toArray(), before], [[[3, 1, 2]], [[2, 1]]]);
});
