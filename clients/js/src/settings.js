/** Run-time decoding settings of an exported file: names, defaults and range checks. */

import { InputError } from "./errors.js";
import { describe, quote } from "./manifest.js";
import { Tensor, cast } from "./tensors.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */

const INT32 = 2 ** 31;
const MAX_LENGTH = 200; // where neither the caller nor the file says anything
const LENGTHS = ["max_length", "new_tokens"]; // the first files that tfseq wrote say new_tokens

/**
 * A setting as a file describes it: its type, default, the value that it does nothing at, its range, and what it does.
 *
 * @typedef {object} Setting
 * @property {string} dtype
 * @property {number | undefined} default undefined if it has to be given
 * @property {number | undefined} neutral
 * @property {number} low
 * @property {number} high
 * @property {boolean} above whether it has to be larger than `low`
 * @property {string} description
 */

/**
 * Of files that do not say it themselves; newer ones describe their settings.
 *
 * @type {Record<string, Partial<Setting>>}
 */
const KNOWN = {
  min_length: { neutral: 0, low: 0 },
  temperature: { neutral: 1, low: 0 },
  top_k: { neutral: 0, low: 0 },
  top_p: { neutral: 1, low: 0, high: 1, above: true },
  seed: { neutral: 0 },
  length_penalty: { neutral: 1 },
  repetition_penalty: { neutral: 1, low: 0, above: true },
};

/** @param {Manifest} manifest */
function settingSpecs({ inputs, states }) {
  const other = [...LENGTHS, "position", "index", ...states.map((state) => state.input)];
  return inputs.filter((spec) => spec.shape.length === 0 && !other.includes(spec.name));
}

/**
 * What the file, or else this version, knows of each setting.
 *
 * @param {Manifest} manifest
 * @returns {Record<string, Setting>} by JavaScript's names, such as topK
 */
export function describedSettings(manifest) {
  const decoding = manifest.decoding ?? {};
  return Object.fromEntries(
    settingSpecs(manifest).map(({ name, dtype }) => {
      const known = decoding.settings?.[name] ?? KNOWN[name] ?? {};
      const any = dtype.startsWith("float") ? { low: -Infinity, high: Infinity } : { low: -INT32, high: INT32 - 1 };
      const setting = { neutral: undefined, ...any, above: false, description: "", ...known, dtype };
      return [toCamelCase(name), { ...setting, default: decoding[name] ?? setting.neutral }];
    }),
  );
}

/** What a generation graph calls the number of new tokens. @param {Manifest} manifest */
export function lengthName({ inputs }) {
  return LENGTHS.find((name) => inputs.some((spec) => spec.name === name)) ?? LENGTHS[0];
}

/**
 * A scalar for each setting of a file: the given one, or else the file's default.
 *
 * @param {Manifest} manifest
 * @param {Record<string, any>} given by JavaScript's names, such as topK; undefined and null stand for the default
 * @returns {Record<string, Tensor>} by the graph's names
 * @throws {InputError} the file has no such setting, or a value is out of range
 */
export function checkedSettings(manifest, given) {
  const specs = settingSpecs(manifest);
  const described = describedSettings(manifest);
  const decoding = manifest.decoding ?? {};
  for (const [name, value] of Object.entries(given)) {
    if (value == null || specs.some((spec) => toCamelCase(spec.name) === name)) continue;
    const has = ["maxLength", ...specs.map((spec) => toCamelCase(spec.name))].join(", ");
    const strategy = decoding.strategy ? ` It was exported with the strategy ${quote(decoding.strategy)}.` : "";
    throw new InputError(`This file has no setting ${quote(name)}; it has ${has}.${strategy}`);
  }
  return Object.fromEntries(
    specs.map((spec) => {
      const name = toCamelCase(spec.name);
      const value = given[name] ?? described[name].default;
      if (value === undefined) {
        throw new InputError(`The setting ${quote(name)} has no default; give it: ${describe(spec)}.`);
      }
      return [spec.name, checked(name, value, spec, described[name])];
    }),
  );
}

/**
 * The number of new tokens, at most.
 *
 * @param {Manifest} manifest
 * @param {any} maxLength undefined is the file's default, or less where the model has no more positions
 * @param {number} already tokens that the model has read or will have read before it writes, a prompt or a start token
 * @returns {number}
 * @throws {InputError} it is no whole number, or out of range; the model has too few positions
 */
export function checkedLength(manifest, maxLength, already) {
  const positions = manifest.decoding?.max_positions;
  const room = positions == null ? INT32 - 1 : positions - already + 1; // the last token is written and not read
  if (room < 1) throw new InputError(`The text has ${already} tokens; this model reads ${positions} at most.`);
  const length = whole("maxLength", maxLength ?? manifest.decoding?.max_length ?? MAX_LENGTH, 0, INT32 - 1);
  if (maxLength == null) return Math.min(length, room);
  if (length > room) {
    throw new InputError(
      `maxLength is ${length}; after ${already} tokens there is room for ${room}, as this model reads ${positions}.`,
    );
  }
  return length;
}

/**
 * @param {string} name
 * @param {any} value
 * @param {import("./manifest.js").TensorSpec} spec
 * @param {Setting} setting
 */
function checked(name, value, spec, { low, high, above }) {
  if (!spec.dtype.startsWith("float")) return cast(spec, whole(name, value, low, high));
  const number = spec.dtype === "float64" ? value : Math.fround(value);
  const isNumber = typeof value === "number" && Number.isFinite(number);
  if (!isNumber || number < low || number > high || (above && number === low)) {
    const ends = [low === -Infinity ? "" : `${above ? "more than " : ""}${low}${above ? "" : " or more"}`];
    ends.push(high === Infinity ? "" : `${high} at most`);
    const range = ["a number", ...ends.filter(Boolean)].join(", ");
    throw new InputError(`${name} is ${quote(value)}; expected ${range}.`);
  }
  return cast(spec, number);
}

/** @param {string} name @param {any} value @param {number} low @param {number} high @returns {number} */
function whole(name, value, low, high) {
  if (typeof value === "bigint" && value >= -INT32 && value < INT32) value = Number(value);
  if (!Number.isInteger(value)) throw new InputError(`${name} is ${quote(value)}; expected a whole number.`);
  if (value < low || value > high) throw new InputError(`${name} is ${value}; expected ${low} to ${high}.`);
  return value;
}

/** @param {string} name such as top_k */
const toCamelCase = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
