/** Kinds of JSON values, put together to describe a document; each says where a value is of another kind. */

import { ArtefactError } from "./errors.js";

const DEEPEST = 32; // of values in values

/**
 * What a value may be: throws an ArtefactError if `value`, which is found at `where`, is of another kind.
 *
 * @typedef {(value: any, where: string) => void} Kind
 */

/** @param {any} value */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {string} what */
export const damaged = (what) => new ArtefactError(`The manifest is damaged: ${what}.`);

/** @param {any} value @returns {string} as JSON, cut short */
export function shown(value) {
  let text;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = `a value of the type ${typeof value}`; // such as one that is nested too deeply
  }
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/** @param {(value: any) => boolean} is @param {string} expected @returns {Kind} */
const kind = (is, expected) => (value, where) => {
  if (!is(value)) throw damaged(`${where || "it"} is ${shown(value)}; expected ${expected}`);
};

/** @param {number} [least] characters @returns {Kind} */
export const text = (least = 0) =>
  kind((value) => typeof value === "string" && value.length >= least, `a text${least ? " that is not empty" : ""}`);

/** @param {readonly string[]} names @returns {Kind} */
export const among = (names) => kind((value) => names.includes(value), `one of ${names.join(", ")}`);

/** @param {number} [low] @param {number} [high] @returns {Kind} */
export const whole = (low = -(2 ** 63), high = 2 ** 63) =>
  kind((value) => Number.isInteger(value) && value >= low && value <= high, "a whole number in its range");

/** Null stands for nan, which JSON lacks. @type {Kind} */
export const number = kind((value) => typeof value === "number" || value === null, "a number");

/** @type {Kind} */
export const flag = kind((value) => typeof value === "boolean", "true or false");

/** @type {Kind} */
export const anything = (value, where) => {
  if (depth(value) > DEEPEST) throw damaged(`${where} is nested more than ${DEEPEST} levels deep`);
};

/** @param {any} value @returns {number} of values in values, up to DEEPEST + 1 */
function depth(value) {
  let level = [value];
  for (let at = 0; at <= DEEPEST; at++) {
    level = level.filter((each) => typeof each === "object" && each !== null).flatMap(Object.values);
    if (!level.length) return at;
  }
  return DEEPEST + 1;
}

/** @param {Kind} each @param {number} [least] @param {number} [most] @returns {Kind} */
export const listOf = (each, least = 0, most = Infinity) => {
  const isList = kind(
    (value) => Array.isArray(value) && value.length >= least && value.length <= most,
    `an array${least ? ` of ${least} or more` : ""}`,
  );
  return (value, where) => {
    isList(value, where);
    for (const [place, item] of value.entries()) each(item, `${where}[${place}]`);
  };
};

/** @param {Kind} each @returns {Kind} */
export const mapOf = (each) => (value, where) => {
  kind(isObject, "an object")(value, where);
  for (const [name, item] of Object.entries(value)) each(item, where ? `${where}.${name}` : name);
};

/** Fields that it does not name may be anything. @param {Record<string, Kind>} required @param {Record<string, Kind>} [optional] @returns {Kind} */
export const record = (required, optional = {}) => {
  const names = Object.keys(required);
  const kinds = new Map(Object.entries({ ...optional, ...required }));
  return (value, where) => {
    kind(isObject, `an object of ${[...kinds.keys()].join(", ")}`)(value, where);
    const missing = names.filter((name) => !Object.hasOwn(value, name));
    kind(() => !missing.length, `an object with ${missing.join(", ")}, too`)(value, where);
    for (const [name, item] of Object.entries(value)) {
      (kinds.get(name) ?? anything)(item, where ? `${where}.${name}` : name);
    }
  };
};

/** @param {Kind} each @returns {Kind} */
export const orNone = (each) => (value, where) => {
  if (value !== null) each(value, where);
};

/** The first for what is no array and no text, the second for others. @param {Kind} single @param {Kind} other @returns {Kind} */
export const either = (single, other) => (value, where) =>
  (Array.isArray(value) || typeof value === "string" ? other : single)(value, where);
