/** What of a tokenizer.json fills the memory or never ends, as `tfseq/runtime/tokenizer_limits.py` has it. */

import { ArtefactError } from "./errors.js";
import { isObject, shown } from "./schema.js";

const MOST_TOKENS = 2 ** 24; // vocabularies are arrays as long as the largest id
const MOST_GROWTH = 64; // characters that replacements may make of one
const DEEPEST = 8; // of steps in steps

/**
 * Whether a tokenizer.json is one that can be used on any text.
 *
 * @param {any} value its JSON
 * @throws {ArtefactError} it is none, or not safe
 */
export function checkDescription(value) {
  if (!isObject(value) || !isObject(value.model)) throw damaged("it is no object with a model");
  const added = value.added_tokens ?? [];
  if (!Array.isArray(added) || !added.every(isObject)) throw damaged("added_tokens is no array of objects");
  const { vocab } = value.model;
  if (!isObject(vocab) && !Array.isArray(vocab)) throw damaged("its model has no vocabulary");
  for (const id of [...(isObject(vocab) ? Object.values(vocab) : []), ...added.map((token) => token.id)]) {
    if (!Number.isInteger(id) || id < 0 || id >= MOST_TOKENS) {
      throw damaged(`the id of a token is ${shown(id)}; expected 0 to ${MOST_TOKENS - 1}`);
    }
  }
  for (const { content } of added) {
    if (typeof content !== "string") throw damaged(`an added token is ${shown(content)}; expected a text`);
  }
  const { unk_token: unknown } = value.model; // one that is absent is said where a text needs it
  if (unknown != null && typeof unknown !== "string") throw damaged(`unk_token is ${shown(unknown)}; expected a text`);
  for (const stage of ["normalizer", "pre_tokenizer", "decoder"]) checkGrowth(parts(value[stage] ?? null));
}

/** A step and those in it, of sequences of sequences. @param {any} step @param {number} [deeper] @returns {any[]} */
function parts(step, deeper = DEEPEST) {
  if (step === null) return [];
  if (!isObject(step)) throw damaged(`a step is ${shown(step)}; expected an object`);
  const names = ["normalizers", "pretokenizers", "decoders"];
  const inner = names.flatMap((name) => (Array.isArray(step[name]) ? step[name] : []));
  if (inner.length && deeper === 0) throw damaged("its steps are nested too deeply");
  return [step, ...inner.flatMap((each) => parts(each, deeper - 1))];
}

/** The most characters that replacements make of one, each of what the ones before it made. @param {any[]} steps */
function checkGrowth(steps) {
  let growth = 1;
  /** @type {Map<string, number>} what a character becomes by steps that replace single ones, from here on */
  let sizes = new Map();
  const most = () => Math.max(1, ...sizes.values());
  for (const { type, pattern, content } of steps.toReversed()) {
    if (type === "Replace" && (!isObject(pattern) || typeof content !== "string")) {
      throw damaged("a replacement has no pattern or no content");
    }
    const characters = type === "Replace" ? single(pattern) : null;
    if (characters) {
      const size = [...content].reduce((sum, character) => sum + (sizes.get(character) ?? 1), 0);
      for (const character of characters) sizes.set(character, Math.max(1, size));
      continue;
    }
    growth *= most();
    sizes = new Map();
    if (type !== "Replace") continue;
    const text = pattern.String;
    growth *= typeof text === "string" && text ? Math.max(1, content.length / text.length) : 1 + content.length;
  }
  growth *= most();
  if (growth > MOST_GROWTH) {
    throw damaged(`its replacements may make ${growth.toPrecision(3)} characters of one; ${MOST_GROWTH} at most`);
  }
}

/**
 * The single characters that a pattern matches, if it is a list of such.
 *
 * @param {Record<string, any>} pattern
 * @returns {string[] | null}
 */
function single({ String: text, Regex: regex }) {
  if (typeof text === "string" && [...text].length === 1) return [text];
  if (typeof regex !== "string" || !/^\[(\\x\{[0-9a-f]{1,5}\})+\]$/.test(regex)) return null;
  return [...regex.matchAll(/[0-9a-f]+(?=\})/g)].map(([code]) => String.fromCodePoint(parseInt(code, 16)));
}

/** @param {string} what */
const damaged = (what) =>
  new ArtefactError(`A tokenizer is damaged, or needs a newer @huggingface/tokenizers: ${what}.`);
