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

/** @param {any[]} steps */
function checkGrowth(steps) {
  let growth = 1;
  for (const { type, pattern, content } of steps) {
    if (type !== "Replace") continue;
    if (!isObject(pattern) || typeof content !== "string") throw damaged("a replacement has no pattern or no content");
    const text = pattern.String;
    growth *= typeof text === "string" && text ? Math.max(1, content.length / text.length) : 1 + content.length;
  }
  if (growth > MOST_GROWTH) {
    throw damaged(`its replacements may make ${growth.toPrecision(3)} characters of one; ${MOST_GROWTH} at most`);
  }
}

/** @param {string} what */
const damaged = (what) =>
  new ArtefactError(`A tokenizer is damaged, or needs a newer @huggingface/tokenizers: ${what}.`);
