/** Tensors and the binding of arrays: dtypes, shapes, casts, and what is refused. */

import assert from "node:assert/strict";
import test from "node:test";

import { fromHalves, toHalves } from "../src/float16.js";
import { bind, requireFinite, Tensor } from "../src/tensors.js";

const spec = (dtype, ...shape) => [{ name: "x", dtype, shape }];
const bound = (specs, x) => bind(specs, { x }).x;

test("nested arrays, typed arrays and {data, dims} are the same", () => {
  const specs = spec("float32", "batch", 3);
  const expected = new Tensor("float32", Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
  const flat = Float32Array.of(1, 2, 3, 4, 5, 6);
  const nested = [[1, 2, 3], Float64Array.of(4, 5, 6)];
  for (const value of [nested, flat, { data: flat, dims: [2, 3] }, { data: [...flat], dims: [2, 3] }, expected]) {
    assert.deepEqual(bound(specs, value), expected);
  }
  assert.deepEqual(expected.toArray(), [
    [1, 2, 3],
    [4, 5, 6],
  ]);
});

test("a number is an array without axes", () => {
  const scalar = bound(spec("int32"), 7);
  assert.deepEqual([scalar.dims, [...scalar.data], scalar.toArray()], [[], [7], 7]);
});

for (const [dtype, value, data] of [
  ["int64", [1, -2n, true], BigInt64Array.of(1n, -2n, 1n)],
  ["int64", Int32Array.of(5), BigInt64Array.of(5n)],
  ["uint64", [2n ** 64n - 1n], BigUint64Array.of(2n ** 64n - 1n)],
  ["int32", [-(2 ** 31), 2 ** 31 - 1, 3n], Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 3)],
  ["int32", BigInt64Array.of(9n), Int32Array.of(9)],
  ["uint8", [0, 255], Uint8Array.of(0, 255)],
  ["float32", [0.1, 2, Infinity, true], Float32Array.of(0.1, 2, Infinity, 1)],
  ["float32", Int32Array.of(2 ** 24), Float32Array.of(2 ** 24)],
  ["float64", [0.1], Float64Array.of(0.1)],
  ["float16", [65504, -Infinity], Float32Array.of(65504, -Infinity)],
  ["bool", [true, false], Uint8Array.of(1, 0)],
  ["string", ["a", "é"], ["a", "é"]],
]) {
  test(`${value.constructor.name} ${[...value]} is taken as ${dtype}`, () => {
    assert.deepEqual(bound(spec(dtype, "n"), value).data, data);
  });
}

test("not a number stays one", () => {
  assert(Number.isNaN(bound(spec("float32", "n"), [NaN]).data[0]));
});

test("booleans come back as booleans, and go in again", () => {
  const tensor = bound(spec("bool", "n"), [true, false]);
  assert.deepEqual(tensor.toArray(), [true, false]);
  assert.deepEqual(bound(spec("bool", "n"), tensor), tensor);
});

for (const [dtype, value, message] of [
  ["int32", [1.5], /holds 1.5, which int32 can't represent/],
  ["int32", [2 ** 31], /holds 2147483648/],
  ["int32", [2n ** 31n], /holds 2147483648/],
  ["int32", [NaN], /holds NaN/],
  ["int32", Float32Array.of(1), /is Float32Array; expected x int32/],
  ["uint8", [-1], /holds -1/],
  ["int64", [2n ** 63n], /holds 9223372036854775808/],
  ["float32", [1e39], /holds 1e\+39/],
  ["float32", Int32Array.of(2 ** 24 + 1), /holds 16777217/],
  ["float32", [2n ** 24n + 1n], /holds 16777217/],
  ["float16", [65520], /holds 65520/],
  ["bool", [1], /holds 1, which bool/],
  ["float32", ["1"], /is text; expected x float32 \(n\)\. Encode it first/],
  ["float32", [null], /holds null/],
  ["string", [1], /holds 1; expected text/],
  ["float32", [], /is empty, \(0\)/],
  ["float32", {}, /neither a number, an array nor \{data, dims\}/],
  ["float32", { data: [1, 2], dims: [3] }, /2 elements and the dims \(3\)/],
  ["float32", [[1]], /has 2 axes, \(1, 1\); expected x float32 \(n\)/],
]) {
  test(`${JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v))} is refused as ${dtype}`, () => {
    assert.throws(() => bound(spec(dtype, "n"), value), { name: "InputError", message });
  });
}

for (const [what, value, message] of [
  ["rows of two lengths", [[1, 2], [3]], /ragged/],
  ["a number among rows", [[1], 2], /ragged/],
  ["a flat array of unknown rows", Float32Array.of(1, 2, 3, 4), /flat array of 4.*Give \{data, dims\}/],
  ["an axis too few", [1, 2], /has 1 axes, \(2\).*Add the batch axis/],
]) {
  test(`${what} are refused`, () => {
    assert.throws(() => bound(spec("float32", "batch", "time"), value), { name: "InputError", message });
  });
}

test("axes of one name have one size, and known axes theirs", () => {
  const specs = [
    { name: "a", dtype: "int32", shape: ["batch", 2] },
    { name: "b", dtype: "int32", shape: ["batch"] },
  ];
  const refuse = (named, message) => assert.throws(() => bind(specs, named), { name: "InputError", message });
  refuse({ a: [[1, 2]], b: [1, 2] }, /The axis "batch" is 1 in "a" and 2 in "b"/);
  refuse({ a: [[1, 2, 3]], b: [1] }, /Axis 1 of the input "a" has size 3/);
  refuse({ a: [[1, 2]] }, /Missing b; expected a int32 \(batch, 2\), b int32 \(batch\)/);
  refuse({ a: [[1, 2]], b: [1], c: [1] }, /There is no input "c"/);
  refuse([1, 2], /object of arrays by name/);
});

test("what is not finite is refused, with its place", () => {
  const specs = [
    { name: "x", dtype: "float32", shape: ["batch", 2, 3] },
    { name: "n", dtype: "int32", shape: ["batch"] },
  ];
  for (const value of [NaN, Infinity, -Infinity]) {
    for (let place = 0; place < 12; place++) {
      const data = Float32Array.from({ length: 12 }, (_, i) => (i < place ? i : value));
      const feeds = bind(specs, { x: { data, dims: [2, 2, 3] }, n: [1, 2] });
      const at = `${Math.floor(place / 6)}, ${Math.floor(place / 3) % 2}, ${place % 3}`;
      const message = `The input "x" holds ${value} at [${at}]; expected finite numbers.`;
      assert.throws(() => requireFinite(specs, feeds), (error) => error.message.startsWith(message));
      requireFinite(specs.slice(1), feeds);
    }
  }
});

test("halves are the nearest, ties to even", () => {
  const cases = [
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519, 0x7bff],
    [65520, 0x7c00],
    [-Infinity, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [1.5 * 2 ** -25, 0x0001],
    [1.5 * 2 ** -24, 0x0002],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 - 2 ** -12, 0x4000],
    [-0, 0x8000],
  ];
  assert.deepEqual(
    [...toHalves(Float32Array.from(cases, ([number]) => number))],
    cases.map(([, half]) => half),
  );
});

test("every half comes back", () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const again = toHalves(fromHalves(halves));
  const isNumber = (half) => (half & 0x7fff) <= 0x7c00;
  assert.deepEqual(
    [...again].filter((_, i) => isNumber(i)),
    [...halves].filter(isNumber),
  );
  assert(Number.isNaN(fromHalves(Uint16Array.of(0x7e00))[0]));
});
