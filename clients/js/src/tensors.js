/** `Tensor`, typed data with dimensions, and the binding of arrays to a graph's signature. */

import { InputError } from "./errors.js";
import { describe, quote } from "./manifest.js";

/** @typedef {import("./manifest.js").TensorSpec} TensorSpec */

/** @type {Record<string, {array: any, kind: "f" | "i" | "u" | "b", low?: number | bigint, high?: number | bigint}>} */
const DTYPES = {
  float16: { array: Float32Array, kind: "f" }, // held as float32: JavaScript's engines of today have no halves
  float32: { array: Float32Array, kind: "f" },
  float64: { array: Float64Array, kind: "f" },
  int8: { array: Int8Array, kind: "i", low: -(2 ** 7), high: 2 ** 7 - 1 },
  int16: { array: Int16Array, kind: "i", low: -(2 ** 15), high: 2 ** 15 - 1 },
  int32: { array: Int32Array, kind: "i", low: -(2 ** 31), high: 2 ** 31 - 1 },
  int64: { array: BigInt64Array, kind: "i", low: -(2n ** 63n), high: 2n ** 63n - 1n },
  uint8: { array: Uint8Array, kind: "u", low: 0, high: 2 ** 8 - 1 },
  uint16: { array: Uint16Array, kind: "u", low: 0, high: 2 ** 16 - 1 },
  uint32: { array: Uint32Array, kind: "u", low: 0, high: 2 ** 32 - 1 },
  uint64: { array: BigUint64Array, kind: "u", low: 0n, high: 2n ** 64n - 1n },
  bool: { array: Uint8Array, kind: "b" },
};
const HALF_OVERFLOWS = 65520; // rounds to infinity

/** @param {string} dtype NumPy's name of a type */
export const isKnown = (dtype) => dtype === "string" || Object.hasOwn(DTYPES, dtype);

/**
 * Typed data and its dimensions, last axis fastest.
 *
 * `dtype` is NumPy's name of the type. `data` holds one element each: numbers in a typed array, of 0 and 1 for "bool",
 * bigints in a BigInt64Array or BigUint64Array for "int64" and "uint64", strings in an array for "string"; "float16"
 * is held in a Float32Array.
 */
export class Tensor {
  /**
   * @param {string} dtype
   * @param {any} data
   * @param {readonly number[]} dims
   */
  constructor(dtype, data, dims) {
    this.dtype = dtype;
    this.data = data;
    this.dims = [...dims];
  }

  /** The same as nested arrays of numbers, bigints, booleans or strings; an element alone if there are no axes. */
  toArray() {
    const { data, dims } = this;
    const element = this.dtype === "bool" ? (/** @type {number} */ i) => data[i] !== 0 : (i) => data[i];
    let at = 0;
    /** @type {(axis: number) => any} */
    const nest = (axis) =>
      axis === dims.length ? element(at++) : Array.from({ length: dims[axis] }, () => nest(axis + 1));
    return nest(0);
  }
}

/** A tensor of zeros. @param {string} dtype @param {readonly number[]} dims */
export function zeros(dtype, dims) {
  const size = dims.reduce((product, dim) => product * dim, 1);
  return new Tensor(dtype, new DTYPES[dtype].array(size), dims);
}

/**
 * Arrays by name, checked against a signature. Types are cast where no value changes: integers that fit, integers to
 * the floats that hold them, floats to floats.
 *
 * @param {readonly TensorSpec[]} specs the inputs of the graph
 * @param {Record<string, any>} named for each a number, nested arrays, a typed array, or {data, dims} with flat data
 * @returns {Record<string, Tensor>}
 * @throws {InputError} an input is missing, unknown or empty; a type, rank or size is wrong; two axes of one name
 *   differ
 */
export function bind(specs, named) {
  const wanted = specs.map(describe).join(", ");
  if (typeof named !== "object" || named === null || Array.isArray(named) || ArrayBuffer.isView(named)) {
    throw new InputError(`Expected an object of arrays by name: ${wanted}.`);
  }
  for (const name of Object.keys(named)) {
    if (!specs.some((spec) => spec.name === name)) {
      throw new InputError(`There is no input ${quote(name)}; expected ${wanted}.`);
    }
  }
  const missing = specs.map((spec) => spec.name).filter((name) => named[name] === undefined);
  if (missing.length) throw new InputError(`Missing ${missing.join(", ")}; expected ${wanted}.`);
  const feeds = Object.fromEntries(specs.map((spec) => [spec.name, cast(spec, named[spec.name])]));
  checkAxes(specs, feeds);
  return feeds;
}

/**
 * @param {readonly TensorSpec[]} specs the inputs to look at
 * @param {Record<string, Tensor>} feeds
 * @throws {InputError} a float input holds NaN or infinity. Keras makes NaN of them; ONNX Runtime's recurrent operators
 *   swallow them, and a confident answer comes out.
 */
export function requireFinite(specs, feeds) {
  for (const { name, dtype } of specs) {
    if (DTYPES[dtype]?.kind !== "f") continue;
    const { data, dims } = feeds[name];
    const first = Array.prototype.findIndex.call(data, (value) => !Number.isFinite(value));
    if (first < 0) continue;
    const place = dims.map((size, axis) => Math.floor(first / product(dims.slice(axis + 1))) % size);
    throw new InputError(
      `The input ${quote(name)} holds ${data[first]} at [${place.join(", ")}]; expected finite numbers. Fill in what is ` +
        "missing, or load the file with { allowNaN: true }: what an ONNX graph makes of such values may not be what " +
        "Keras does.",
    );
  }
}

/**
 * @param {Record<string, number>} sizes of vocabularies, by the names of the inputs that hold token ids
 * @param {Record<string, Tensor>} feeds
 * @throws {InputError} a token id is below 0, for which a graph takes the last of its table, or is not below the size
 */
export function requireTokens(sizes, feeds) {
  for (const [name, size] of Object.entries(sizes)) {
    const { data } = feeds[name] ?? { data: [] };
    const first = Array.prototype.findIndex.call(data, (token) => token < 0 || token >= size);
    if (first < 0) continue;
    throw new InputError(`The input ${quote(name)} holds the token ${data[first]}; expected 0 to ${size - 1}.`);
  }
}

/** @param {readonly number[]} numbers */
const product = (numbers) => numbers.reduce((total, number) => total * number, 1);

/**
 * @param {TensorSpec} spec
 * @param {any} value
 * @returns {Tensor}
 */
export function cast(spec, value) {
  const { data, dims } = flatten(spec, value);
  if (data.length === 0) {
    throw new InputError(`The input ${quote(spec.name)} is empty, (${dims.join(", ")}); expected ${describe(spec)}.`);
  }
  if (spec.dtype === "string") {
    const other = Array.from(data).find((element) => typeof element !== "string");
    if (other !== undefined) {
      throw new InputError(`The input ${quote(spec.name)} holds ${quote(other)}; expected text: ${describe(spec)}.`);
    }
    return new Tensor("string", Array.from(data), dims);
  }
  return new Tensor(spec.dtype, castData(spec, data), dims);
}

/** @param {TensorSpec} spec @param {ArrayLike<any>} data */
function castData(spec, data) {
  const { array, kind, low = 0, high = 0 } = DTYPES[spec.dtype];
  if (data instanceof array && spec.dtype !== "float16" && kind !== "b") return data;
  const isFloats = data instanceof Float32Array || data instanceof Float64Array;
  if (isFloats && kind !== "f") {
    throw new InputError(`The input ${quote(spec.name)} is ${data.constructor.name}; expected ${describe(spec)}.`);
  }
  const isIntegers = ArrayBuffer.isView(data) && !isFloats;
  const big = array === BigInt64Array || array === BigUint64Array;
  const result = new array(data.length);
  for (let i = 0; i < data.length; i++) {
    const element = data[i];
    if (typeof element === "string") {
      throw new InputError(`The input ${quote(spec.name)} is text; expected ${describe(spec)}. Encode it first.`);
    }
    if (!["number", "bigint", "boolean"].includes(typeof element)) {
      throw new InputError(`The input ${quote(spec.name)} holds ${quote(element)}; expected ${describe(spec)}.`);
    }
    let fits;
    if (kind === "f") {
      const number = Number(element);
      result[i] = number;
      if (typeof element === "bigint") fits = Number.isFinite(result[i]) && BigInt(result[i]) === element;
      else if (isIntegers) fits = result[i] === number;
      else fits = Number.isFinite(result[i]) || !Number.isFinite(number);
      if (spec.dtype === "float16" && Number.isFinite(number)) fits = fits && Math.abs(number) < HALF_OVERFLOWS;
    } else if (kind === "b") {
      fits = typeof element === "boolean" || (data instanceof Uint8Array && element <= 1);
      result[i] = Number(element);
    } else {
      fits = typeof element !== "number" || Number.isInteger(element);
      fits = fits && element >= low && element <= high;
      if (fits) result[i] = big ? BigInt(element) : Number(element);
    }
    if (!fits) {
      throw new InputError(
        `The input ${quote(spec.name)} holds ${quote(element)}, which ${spec.dtype} can't represent ` +
          `(${describe(spec)}).`,
      );
    }
  }
  return result;
}

/**
 * Flat data and dimensions.
 *
 * @param {TensorSpec} spec
 * @param {any} value
 * @returns {{data: ArrayLike<any>, dims: number[]}}
 */
function flatten(spec, value) {
  if (isTyped(value)) return { data: value, dims: dimsOfFlat(spec, value.length) };
  if (Array.isArray(value)) return flattenNested(spec, value);
  if (typeof value !== "object" || value === null) return { data: [value], dims: [] };
  const { data, dims } = value;
  if (!(isTyped(data) || Array.isArray(data)) || !Array.isArray(dims)) {
    throw new InputError(
      `The input ${quote(spec.name)} is neither a number, an array nor {data, dims}; expected ${describe(spec)}.`,
    );
  }
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (!dims.every((dim) => Number.isInteger(dim) && dim >= 0) || size !== data.length) {
    throw new InputError(
      `The input ${quote(spec.name)} has ${data.length} elements and the dims (${dims.join(", ")}); ` +
        `expected ${describe(spec)}.`,
    );
  }
  return { data, dims };
}

/** @param {any} value */
const isTyped = (value) => ArrayBuffer.isView(value) && !(value instanceof DataView);

/** @param {TensorSpec} spec @param {number} length of a flat array */
function dimsOfFlat(spec, length) {
  if (spec.shape.length < 2) return [length];
  const sizes = spec.shape.filter((size) => typeof size === "number");
  const known = sizes.reduce((product, size) => product * size, 1);
  const free = spec.shape.length - sizes.length;
  if (free === 0 ? length === known : free === 1 && length % known === 0) {
    return spec.shape.map((size) => (typeof size === "number" ? size : length / known));
  }
  throw new InputError(
    `The input ${quote(spec.name)} is a flat array of ${length}; expected ${describe(spec)}. ` +
      "Give {data, dims} or nested arrays.",
  );
}

/** @param {TensorSpec} spec @param {any[]} nested @returns {{data: any[], dims: number[]}} */
function flattenNested(spec, nested) {
  const dims = [];
  for (let value = /** @type {any} */ (nested); Array.isArray(value) || isTyped(value); value = value[0]) {
    dims.push(value.length);
  }
  /** @type {any[]} */
  const data = [];
  /** @type {(value: any, axis: number) => void} */
  const walk = (value, axis) => {
    const isArray = Array.isArray(value) || isTyped(value);
    if (isArray !== axis < dims.length || (isArray && value.length !== dims[axis])) {
      throw new InputError(
        `The input ${quote(spec.name)} is ragged: its rows differ in length; pad them to ${describe(spec)}.`,
      );
    }
    if (!isArray) data.push(value);
    else for (const element of value) walk(element, axis + 1);
  };
  walk(nested, 0);
  return { data, dims };
}

/** @param {readonly TensorSpec[]} specs @param {Record<string, Tensor>} feeds */
function checkAxes(specs, feeds) {
  /** @type {Map<string, [number, string]>} */
  const sizes = new Map();
  for (const spec of specs) {
    const { dims } = feeds[spec.name];
    const name = quote(spec.name);
    if (dims.length !== spec.shape.length) {
      const hint = dims.length === spec.shape.length - 1 ? " Add the batch axis: [array]." : "";
      throw new InputError(
        `The input ${name} has ${dims.length} axes, (${dims.join(", ")}); expected ${describe(spec)}.${hint}`,
      );
    }
    spec.shape.forEach((expected, axis) => {
      const size = dims[axis];
      if (typeof expected === "number") {
        if (size !== expected) {
          throw new InputError(`Axis ${axis} of the input ${name} has size ${size}; expected ${describe(spec)}.`);
        }
        return;
      }
      if (!sizes.has(expected)) sizes.set(expected, [size, spec.name]);
      const [first, owner] = /** @type {[number, string]} */ (sizes.get(expected));
      if (size !== first) {
        throw new InputError(`The axis ${quote(expected)} is ${first} in ${quote(owner)} and ${size} in ${name}.`);
      }
    });
  }
}
