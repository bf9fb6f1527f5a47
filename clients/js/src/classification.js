/** Classification: the most likely class of each row by name, and texts as classifier inputs. */

import { InputError } from "./errors.js";
import { paddedTokens } from "./generation.js";
import { describe } from "./manifest.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {import("./manifest.js").TensorSpec} TensorSpec */
/** @typedef {import("./characters.js").Tokenizer} Tokenizer */
/** @typedef {import("./tensors.js").Tensor} Tensor */

/**
 * The class that a model predicts.
 *
 * @typedef {object} Label
 * @property {string} name of the most likely class
 * @property {number} probability of this class
 */

/**
 * The most likely class of each row, nested as the axes before the last are.
 *
 * @param {string[]} labels names of the classes
 * @param {any} probabilities (..., classes); or (..., 1), the probability of the second of two classes
 * @returns {any} a `Label`, or arrays of them
 */
export function named(labels, probabilities) {
  if (Array.isArray(probabilities[0])) {
    return probabilities.map((/** @type {any} */ row) => named(labels, row));
  }
  const two = probabilities.length === 1 && labels.length === 2;
  const all = two ? [1 - probabilities[0], probabilities[0]] : probabilities;
  const best = all.indexOf(all.reduce((/** @type {number} */ a, /** @type {number} */ b) => Math.max(a, b)));
  return { name: labels[best], probability: all[best] };
}

/**
 * The output whose last axis counts the classes: the first.
 *
 * @param {Manifest} manifest
 * @returns {TensorSpec}
 * @throws {InputError} the file names no classes
 */
export function labelledOutput(manifest) {
  if (manifest.labels.length === 0) {
    throw new InputError(
      manifest.task === "generate"
        ? `${manifest.name} generates and does not classify; call generate.`
        : `${manifest.name} does not name its classes; call predict, or export the model with labels=[...].`,
    );
  }
  return manifest.outputs[0];
}

/**
 * Inputs of the graph for a text or several; undefined if `given` is something else, or
 * the graph takes text itself. Warns of unknown characters.
 *
 * @param {Manifest} manifest
 * @param {Tokenizer | null} tokenizer
 * @param {any} given
 * @returns {Record<string, Tensor> | undefined}
 * @throws {InputError} the file reads no text, or a text is empty
 */
export function textFeeds(manifest, tokenizer, given) {
  if (typeof given !== "string" && !(Array.isArray(given) && typeof given[0] === "string")) return undefined;
  const [spec, ...more] = manifest.inputs;
  if (spec.dtype === "string") return undefined;
  if (tokenizer === null || more.length > 0 || spec.dtype !== "int32" || spec.shape.length !== 2) {
    throw new InputError(`This file reads no text; expected arrays: ${manifest.inputs.map(describe).join(", ")}.`);
  }
  return { [spec.name]: paddedTokens(tokenizer, given, "text").padded };
}

/**
 * Arrays by name, with a text or an array of texts as what its input takes: token ids, or one string for each row. Warns
 * of unknown words.
 *
 * @param {Manifest} manifest
 * @param {Tokenizer | null} tokenizer
 * @param {any} named
 * @returns {any}
 * @throws {InputError} a text is empty
 */
export function withTexts(manifest, tokenizer, named) {
  if (typeof named !== "object" || named === null || Array.isArray(named) || ArrayBuffer.isView(named)) return named;
  const read = { ...named };
  for (const { name, dtype, shape } of manifest.inputs) {
    const texts = textsOf(named[name]);
    if (texts === undefined) continue;
    if (dtype === "string" && shape.slice(1).every((size) => size === 1)) {
      read[name] = { data: texts, dims: [texts.length, ...shape.slice(1)] };
    } else if (tokenizer !== null && dtype === "int32" && shape.length === 2) {
      read[name] = paddedTokens(tokenizer, texts, "text").padded;
    }
  }
  return read;
}

/** The texts in a text or an array of them, (batch,) or (batch, 1). @param {any} value @returns {string[] | undefined} */
function textsOf(value) {
  const isColumn = Array.isArray(value) && value.every((row) => Array.isArray(row) && row.length === 1);
  const texts = typeof value === "string" ? [value] : isColumn ? value.flat() : value;
  const isTexts = Array.isArray(texts) && texts.length > 0 && texts.every((text) => typeof text === "string");
  return isTexts ? texts : undefined;
}
