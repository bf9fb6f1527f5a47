/** `TextStream` and `Chunks` on models of a few lines: tokens read, states, pieces of characters. */

import assert from "node:assert/strict";
import test from "node:test";

import { firstStates } from "../src/chunks.js";
import { Chunks, Tensor, TextStream } from "../src/index.js";
import { loadTokenizer } from "../src/tokenizers.js";

const int = (name, ...shape) => ({ name, dtype: "int32", shape });
const points = await loadTokenizer({ kind: "code_points", symbols: [..."abcdefgh"] });

const streaming = {
  task: "stream_generate",
  inputs: [int("tokens", "batch"), int("position"), int("index"), int("sum", "batch")],
  outputs: [
    int("next", "batch"),
    { name: "log_probability", dtype: "float32", shape: ["batch"] },
    int("new_sum", "batch"),
  ],
  states: [{ input: "sum", output: "new_sum", initial: 3 }],
  decoding: { strategy: "greedy", start: null, end: 104 },
};

/** A "model" whose next character is the one after the last; it keeps the number of tokens it read, plus 3. */
function counting(calls = []) {
  return async (feeds) => {
    const [token, position, index, sum] = ["tokens", "position", "index", "sum"].map((name) => feeds[name].data[0]);
    calls.push([token, position, index, sum]);
    return {
      next: new Tensor("int32", Int32Array.of(token + 1), [1]),
      log_probability: new Tensor("float32", Float32Array.of(-0.5), [1]),
      new_sum: new Tensor("int32", Int32Array.of(sum + 1), [1]),
    };
  };
}

const collect = async (stream) => {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
};

test("a prompt is read token by token, then each chosen token", async () => {
  const calls = [];
  const stream = new TextStream(streaming, points, counting(calls), "ab", { maxLength: 3 });
  assert.deepEqual(await collect(stream), ["c", "d", "e"]);
  assert.deepEqual(calls, [
    [97, 0, -1, 3],
    [98, 1, 0, 4],
    [99, 2, 1, 5],
    [100, 3, 2, 6],
  ]);
  assert.deepEqual([stream.text, stream.tokens, stream.score, stream.ended], ["cde", [99, 100, 101], -1.5, false]);
});

test("a file that reads several tokens at once is given all that there are", async () => {
  const manifest = { ...streaming, inputs: [int("tokens", "batch", "time"), ...streaming.inputs.slice(1)] };
  const calls = [];
  const run = async (feeds) => {
    const { data, dims } = feeds.tokens;
    calls.push([[...data], [...dims], feeds.position.data[0], feeds.index.data[0], feeds.sum.data[0]]);
    const [token, sum] = [data[data.length - 1], feeds.sum.data[0] + data.length];
    return {
      next: new Tensor("int32", Int32Array.of(token + 1), [1]),
      log_probability: new Tensor("float32", Float32Array.of(-0.5), [1]),
      new_sum: new Tensor("int32", Int32Array.of(sum), [1]),
    };
  };
  const stream = new TextStream(manifest, points, run, "ab", { maxLength: 2 });
  assert.deepEqual(await collect(stream), ["c", "d"]);
  assert.deepEqual(await collect(stream.more("ba", { maxLength: 1 })), ["b"]);
  assert.deepEqual(calls, [
    [[97, 98], [1, 2], 0, 0, 3],
    [[99], [1, 1], 2, 1, 5],
    [[100, 98, 97], [1, 3], 3, 0, 6],
  ]);
});

test("a stream ends at the end, which is no text", async () => {
  const stream = new TextStream(streaming, points, counting(), "e", {});
  assert.deepEqual(await collect(stream), ["f", "g"]);
  assert.deepEqual([stream.ended, stream.score], [true, -1.5]);
  assert.throws(() => stream.more("x"), { name: "InputError", message: /has ended this sequence/ });
});

test("a stream ends at any of several ends", async () => {
  const manifest = { ...streaming, decoding: { ...streaming.decoding, end: [104, 100] } };
  const stream = new TextStream(manifest, points, counting(), "a", {});
  assert.deepEqual(await collect(stream), ["b", "c"]);
  assert.equal(stream.ended, true);
});

test("a stream can be left, gone on with, and told something", async () => {
  const calls = [];
  const stream = new TextStream(streaming, points, counting(calls), "a", { maxLength: 3 });
  for await (const piece of stream) if (piece === "c") break;
  assert.deepEqual(await collect(stream), ["d"]);
  assert.deepEqual(await collect(stream.more("ab", { maxLength: 1 })), ["c"]);
  assert.deepEqual(calls.slice(3), [
    [100, 3, -2, 6],
    [97, 4, -1, 7],
    [98, 5, 0, 8],
  ]);
  assert.equal(stream.text, "bcdc");
});

test("several loops share a stream, and none runs past its end", async () => {
  const calls = [];
  const slow = async (feeds) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return counting(calls)(feeds);
  };
  const stream = new TextStream(streaming, points, slow, "a", { maxLength: 5 });
  const loops = [collect(stream), collect(stream), collect(stream)];
  assert.throws(() => stream.more("x"), { name: "InputError", message: /writing a piece/ });
  assert.deepEqual((await Promise.all(loops)).flat().sort(), [..."bcdef"]);
  assert.deepEqual([stream.text, calls.length], ["bcdef", 5]);
});

test("chunks that are not awaited are read one behind the other", async () => {
  const float = (name, ...shape) => ({ name, dtype: "float32", shape });
  const manifest = {
    inputs: [float("x", "batch", "time"), float("sum", "batch")],
    outputs: [float("last", "batch"), float("new_sum", "batch")],
    states: [{ input: "sum", output: "new_sum", initial: 0 }],
  };
  const chunks = new Chunks(manifest, async ({ x, sum }) => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
    const last = x.data.reduce((all, value) => all + value, sum.data[0]);
    const tensor = () => new Tensor("float32", Float32Array.of(last), [1]);
    return { last: tensor(), new_sum: tensor() };
  });
  const read = [1, 2, 3, 4].map((x) => chunks.predict({ x: [[x]] }));
  assert.deepEqual(
    (await Promise.all(read)).map(({ last }) => last.data[0]),
    [1, 3, 6, 10],
  );
});

test("a source is read at every step, and the first token is the start", async () => {
  const manifest = {
    ...streaming,
    inputs: [...streaming.inputs, int("source", "batch", "time")],
    decoding: { start: 100, end: 104 },
  };
  const sources = [];
  const run = counting();
  const stream = new TextStream(
    manifest,
    { ...points, encode: points.encode, decode: (ids) => points.decode(ids), unknown: () => [], append: [1] },
    (feeds) => {
      sources.push([...feeds.source.data]);
      return run(feeds);
    },
    "xy",
    {},
  );
  assert.deepEqual(await collect(stream), ["e", "f", "g"]);
  assert.deepEqual(sources, Array(4).fill([120, 121, 1]));
});

test("a prompt is read behind the start, and the text goes on from there", async () => {
  const manifest = {
    ...streaming,
    inputs: [...streaming.inputs, int("source", "batch", "time")],
    decoding: { start: 100, end: 104, max_positions: 5 },
  };
  for (const prompt of ["ab", [97, 98], Int32Array.of(97, 98), [[97, 98]]]) {
    const calls = [];
    const stream = new TextStream(manifest, points, counting(calls), "xy", { maxLength: 2, prompt });
    assert.deepEqual(await collect(stream), ["c", "d"]);
    assert.deepEqual(calls, [
      [100, 0, -2, 3],
      [97, 1, -1, 4],
      [98, 2, 0, 5],
      [99, 3, 1, 6],
    ]);
  }
  const refuse = (prompt, message, given = manifest) =>
    assert.throws(() => new TextStream(given, points, counting(), "xy", { maxLength: 3, prompt }), {
      name: "InputError",
      message,
    });
  refuse("abc", /maxLength is 3; after 4 tokens there is room for 2/);
  refuse("a", /give the prompt as the text/, streaming);
});

test("part of a character waits for the rest of it", async () => {
  const bytes = [0xc3, 0xa9, 0xf0, 0x9f]; // é, and half of an emoji
  const tokenizer = {
    splitsCharacters: true,
    append: [],
    vocabularySize: 256,
    encode: (text) => [...new TextEncoder().encode(text)],
    decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
    unknown: () => [],
  };
  const run = async (feeds) => ({
    ...(await counting()(feeds)),
    next: new Tensor("int32", Int32Array.of(bytes[feeds.index.data[0]]), [1]),
  });
  const stream = new TextStream({ ...streaming, decoding: { end: null } }, tokenizer, run, "a", { maxLength: 4 });
  assert.deepEqual(await collect(stream), ["é", "\ufffd"]);
});

test("a model of a few positions writes no further", async () => {
  const manifest = { ...streaming, decoding: { ...streaming.decoding, end: null, max_positions: 4 } };
  const start = (text, options = {}) => new TextStream(manifest, points, counting(), text, options);
  const refuse = (act, message) => assert.throws(act, { name: "InputError", message });
  const stream = start("ab");
  assert.deepEqual(await collect(stream), ["c", "d", "e"]); // the last is written and not read
  refuse(() => start("ab", { maxLength: 4 }), /maxLength is 4; after 2 tokens there is room for 3/);
  refuse(() => start("abcde"), /has 5 tokens; this model reads 4 at most/);
  refuse(() => stream.more("a"), /has 6 tokens; this model reads 4 at most/);
});

test("one text at a time", () => {
  assert.throws(() => new TextStream(streaming, points, counting(), ["a"], {}), {
    name: "InputError",
    message: /one text at a time; got 1/,
  });
});

test("first states are numbers or rows, and free axes are empty", () => {
  const manifest = {
    inputs: [
      { name: "h", dtype: "float32", shape: ["batch", 2] },
      { name: "cache", dtype: "float32", shape: ["batch", 4, "entries", 8] },
      { name: "n", dtype: "int64", shape: [] },
      { name: "seen", dtype: "bool", shape: ["batch", 1] },
    ],
    states: [
      { input: "h", output: "h1", initial: [0.5, -Infinity] },
      { input: "cache", output: "c1", initial: 0 },
      { input: "n", output: "n1", initial: 7 },
      { input: "seen", output: "s1", initial: true },
    ],
  };
  const { h, cache, n, seen } = firstStates(manifest, 2);
  assert.deepEqual(h.toArray(), Array(2).fill([0.5, -Infinity]));
  assert.deepEqual([cache.dims, cache.data.length], [[2, 4, 0, 8], 0]);
  assert.deepEqual([n.dims, n.toArray()], [[], 7n]);
  assert.deepEqual(seen.toArray(), [[true], [true]]);
});

test("chunks carry their states, and a reset forgets them", async () => {
  const manifest = {
    inputs: [int("x", "batch", "time"), int("sum", "batch")],
    states: [{ input: "sum", output: "new_sum", initial: 0 }],
  };
  const run = async ({ x, sum }) => {
    const rows = x.toArray().map((row, i) => row.reduce((a, b) => a + b, sum.data[i]));
    const total = new Tensor("int32", Int32Array.from(rows), [rows.length]);
    return { y: total, new_sum: total };
  };
  const chunks = new Chunks(manifest, run);
  const next = async (x) => (await chunks.predict({ x })).y.toArray();
  assert.deepEqual(
    await next([
      [1, 2],
      [10, 20],
    ]),
    [3, 30],
  );
  assert.deepEqual(await next([[3], [30]]), [6, 60]);
  await assert.rejects(next([[1]]), { name: "InputError", message: /chunk has 1 rows, and the stream 2; call reset/ });
  chunks.reset();
  assert.deepEqual(await next([[5]]), [5]);
});
