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
 * Inputs of the graph for a text or several; undefined if `given` is something else. Warns of unknown characters.
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
  if (tokenizer === null || more.length > 0 || spec.dtype !== "int32" || spec.shape.length !== 2) {
    throw new InputError(`This file reads no text; expected arrays: ${manifest.inputs.map(describe).join(", ")}.`);
  }
  return { [spec.name]: paddedTokens(tokenizer, given, "text").padded };
}
