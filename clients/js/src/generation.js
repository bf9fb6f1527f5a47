/** Text in and out of generation graphs: tokenized and padded prompts and sources, decoded outputs. */

import { checked } from "./characters.js";
import { InputError } from "./errors.js";
import { describe, quote } from "./manifest.js";
import { Tensor, bind } from "./tensors.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {import("./manifest.js").TensorSpec} TensorSpec */
/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

/**
 * One generated text, with its tokens, score and attention weights.
 *
 * @typedef {object} Generation
 * @property {string} text the continuation of a prompt, or the output for a source
 * @property {number[]} tokens its token ids (code points where the file reads those); the end is not among them
 * @property {number | null} score the sum of the log-probabilities of the tokens and the end, with beam search divided
 *   by its length penalty; null if the file does not return it
 * @property {number[][] | null} attention weights of each token over the source, (length, sourceTime); null if the file
 *   does not return them
 */

/**
 * A batch of prompts or sources, as the graph takes it.
 *
 * @typedef {object} Reading
 * @property {Record<string, Tensor>} feeds by input name
 * @property {number} rows how many
 * @property {number[][]} before the token ids that each continuation follows on, of its prompt; none for sources without
 *   one
 * @property {number[] | null} widths tokens of each text; null for other sources
 * @property {number} ahead tokens that the model reads before it writes: those of the longest prompt, and the start
 *   token of an encoder-decoder
 */

/** Whether a file that generates continues a prompt; otherwise it reads a source. @param {Manifest} manifest */
export function continuesPrompts(manifest) {
  return manifest.decoding?.start == null && sourceSpecs(manifest).length === 0;
}

/** The inputs that a file that generates encodes before it writes. @param {Manifest} manifest */
export function sourceSpecs({ task, inputs, states }) {
  const other = ["prompt", "prompt_length", ...states.map((state) => state.input)];
  const read = task === "stream_generate" ? inputs.slice(1) : inputs; // the first is the token
  return read.filter((spec) => spec.shape.length > 0 && !other.includes(spec.name));
}

/**
 * Whether a file that generates from sources also reads a prompt for each, which its output goes on from.
 *
 * @param {Manifest} manifest
 */
function takesPrefix(manifest) {
  const reads = manifest.inputs.some((spec) => spec.name === "prompt_length");
  return manifest.task === "generate" && reads && !continuesPrompts(manifest);
}

/** The name of the input that takes text as token ids; undefined if there is none. @param {Manifest} manifest */
function textSource(manifest) {
  if (continuesPrompts(manifest)) return "prompt";
  const [source, ...more] = sourceSpecs(manifest);
  return more.length === 0 && source.dtype === "int32" && source.shape.length === 2 ? source.name : undefined;
}

/**
 * Tokenizes and pads what a file that generates reads, for its graph; warns of what the model never saw.
 *
 * @param {Manifest} manifest
 * @param {Tokenizer} tokenizer
 * @param {any} given a text or an array of them; for a file that reads no text an array, or arrays by name
 * @param {any} [prompt] beside sources, see `promptTokens`
 * @returns {Reading}
 * @throws {InputError} it is not what the file reads
 */
export function read(manifest, tokenizer, given, prompt) {
  if (continuesPrompts(manifest)) {
    if (prompt != null) {
      throw new InputError("This file continues prompts; give the prompt as the text, and no other beside it.");
    }
    const { encoded, padded } = paddedTokens(tokenizer, given, "prompt");
    const [rows, ahead] = padded.dims;
    const widths = encoded.map((ids) => ids.length);
    const feeds = { prompt: padded, prompt_length: new Tensor("int32", Int32Array.from(widths), [rows]) };
    return { feeds, rows, before: encoded, widths, ahead };
  }
  if (prompt != null && manifest.task === "generate" && !takesPrefix(manifest)) {
    throw new InputError("This file takes no prompt beside its source; export the model with prefix=True.");
  }
  if (manifest.sampling_rate != null) given = paddedSounds(given);
  const name = textSource(manifest);
  const reading =
    name === undefined
      ? readArrays(sourceSpecs(manifest), given)
      : readSource(manifest, tokenizer, name, given);
  return withPrompts(manifest, tokenizer, reading, prompt);
}

/** @param {Manifest} manifest @param {Tokenizer} tokenizer @param {string} name @param {any} given @returns {Reading} */
function readSource(manifest, tokenizer, name, given) {
  const { encoded, padded } = paddedTokens(tokenizer, given, "source");
  const [rows, time] = padded.dims;
  const widths = encoded.map((ids) => ids.length);
  const positions = manifest.decoding?.max_positions;
  if (positions != null && time > positions) {
    throw new InputError(`The source has ${time} tokens; this model reads ${positions} at most.`);
  }
  return { feeds: { [name]: padded }, rows, before: encoded.map(() => []), widths, ahead: 1 };
}

/**
 * With what the decoder reads behind its start token; a file of one decode step is fed that by its caller.
 *
 * @param {Manifest} manifest
 * @param {Tokenizer} tokenizer
 * @param {Reading} reading
 * @param {any} prompt
 * @returns {Reading}
 */
function withPrompts(manifest, tokenizer, reading, prompt) {
  const before = prompt == null ? reading.before : promptTokens(tokenizer, prompt, reading.rows);
  const widths = before.map((ids) => ids.length);
  const feeds = { ...reading.feeds };
  if (takesPrefix(manifest)) {
    feeds.prompt = padded(before);
    feeds.prompt_length = new Tensor("int32", Int32Array.from(widths), [reading.rows]);
  }
  return { ...reading, feeds, before, ahead: 1 + largest(widths) };
}

/**
 * The token ids of the prompts beside sources.
 *
 * @param {Tokenizer} tokenizer
 * @param {any} given a text or token ids, for all rows; or an array of these, one for each row; "" is none
 * @param {number} rows how many
 * @returns {number[][]}
 * @throws {InputError} it is something else, of another number of rows, or outside the vocabulary
 */
function promptTokens(tokenizer, given, rows) {
  const writer = tokenizer.writer ?? tokenizer;
  const isText = (/** @type {any} */ value) => typeof value === "string";
  /** @type {(value: any) => boolean} */
  const isList = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
  if (!isText(given) && !isList(given)) {
    throw new InputError(`The prompt is ${quote(given)}; expected a text, token ids, or an array of these.`);
  }
  const oneForAll = isText(given) || !Array.from(given).some((row) => isText(row) || isList(row));
  const prompts = oneForAll ? [given] : Array.from(given);
  if (!oneForAll && prompts.length !== rows) {
    throw new InputError(
      `There are ${prompts.length} prompts beside ${rows} sources; give one for each, or one for all.`,
    );
  }
  warnOfUnknown(writer, prompts.filter(isText));
  const encoded = prompts.map((prompt) => {
    if (isList(prompt)) return checked(prompt, writer.vocabularySize);
    if (!isText(prompt)) throw new InputError(`A prompt is ${quote(prompt)}; expected a text or token ids.`);
    return prompt === "" ? [] : encode(writer, prompt, "prompt", false);
  });
  return oneForAll ? Array.from({ length: rows }, () => encoded[0]) : encoded;
}

/**
 * The token ids of a text or several: of each, and of all, padded with 0, (batch, time). Warns of what the model never
 * saw.
 *
 * @param {Tokenizer} tokenizer
 * @param {any} given
 * @param {string} what "prompt", "source" or "text", for messages; what the tokenizer prepends and appends is added
 * @returns {{encoded: number[][], padded: Tensor}}
 * @throws {InputError} `given` is no text and no array of texts, or one of them has no token
 */
export function paddedTokens(tokenizer, given, what) {
  const someEmpty = tokenizer.takesEmpty && what === "text";
  const texts = someEmpty ? listedTexts(given, what) : checkedTexts(given, what);
  warnOfUnknown(tokenizer, texts);
  const encoded = texts.map((text) => (someEmpty ? tokenizer.encode(text) : encode(tokenizer, text, what)));
  if (encoded.every((ids) => ids.length === 0)) {
    throw new InputError(`The tokenizer makes no token of the ${what} ${quote(texts[0])}; give a longer text.`);
  }
  return { encoded, padded: padded(encoded) };
}

/** (batch, time), padded with 0; nothing but padding where no row has a token. @param {number[][]} rows */
function padded(rows) {
  const time = Math.max(1, largest(rows.map((ids) => ids.length)));
  const data = new Int32Array(rows.length * time);
  rows.forEach((ids, row) => data.set(ids, row * time));
  return new Tensor("int32", data, [rows.length, time]);
}

/**
 * The token ids of a prompt or source.
 *
 * @param {Tokenizer} tokenizer
 * @param {string} text
 * @param {string} what "prompt", "source" or "text"
 * @param {boolean} alone whether it is all that is read; not so of a prompt beside a source
 * @throws {InputError} there are none
 */
export function encode(tokenizer, text, what, alone = true) {
  const before = alone ? (tokenizer.prepend ?? []) : [];
  const ids = [...before, ...tokenizer.encode(text), ...(what === "prompt" ? [] : tokenizer.append)];
  if (ids.length === 0) {
    throw new InputError(`The tokenizer makes no token of the ${what} ${quote(text)}; give a longer text.`);
  }
  return ids;
}

/**
 * An array of texts, of a text or several.
 *
 * @param {any} given
 * @param {string} what "prompt", "source" or "text"
 * @returns {string[]}
 * @throws {InputError} it is something else, or a text is empty
 */
export function checkedTexts(given, what) {
  const texts = listedTexts(given, what);
  if (texts.includes("")) {
    const capital = what[0].toUpperCase() + what.slice(1);
    const which = texts === given ? `${capital} ${texts.indexOf("")}` : `The ${what}`;
    throw new InputError(`${which} is empty; give at least one character.`);
  }
  return texts;
}

/**
 * `checkedTexts`, of which some may be empty.
 *
 * @param {any} given
 * @param {string} what "prompt", "source" or "text"
 * @returns {string[]}
 * @throws {InputError} it is something else
 */
function listedTexts(given, what) {
  const texts = typeof given === "string" ? [given] : given;
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) {
    throw new InputError(`The ${what} is ${quote(given)}; expected a text, or an array of texts.`);
  }
  if (texts.length === 0) throw new InputError(`There is no ${what}; expected a text, or an array of texts.`);
  return texts;
}

const NAMED = 20;

/** Names what the model never saw, in one warning. @param {Tokenizer} tokenizer @param {string[]} texts */
export function warnOfUnknown(tokenizer, texts) {
  const unknown = [...new Set(texts.flatMap((text) => tokenizer.unknown(text)))];
  if (unknown.length === 0) return;
  const named = unknown.slice(0, NAMED).map(quote).join(", ") + (unknown.length > NAMED ? " and more" : "");
  const message = `The model never saw ${named} and reads each as its unknown token.`;
  if (typeof process !== "undefined" && process.emitWarning) process.emitWarning(message, "UnknownCharacterWarning");
  else console.warn(message);
}

/**
 * The outputs of a generation graph as texts.
 *
 * @param {Tokenizer} tokenizer
 * @param {Reading} reading what the graph read
 * @param {Record<string, Tensor>} outputs `tokens` (batch, newTime), and `lengths` (batch,), `scores` (batch,) and
 *   `attention` (batch, newTime, sourceTime) where the graph has them
 * @returns {Generation[]}
 */
export function written(tokenizer, reading, outputs) {
  const { tokens, lengths, scores, attention } = outputs;
  const [rows, time] = tokens.dims;
  const widest = largest(reading.widths ?? []);
  return Array.from({ length: rows }, (_, row) => {
    const length = lengths ? lengths.data[row] : time;
    /** @type {number[]} */
    const ids = Array.from(tokens.data.slice(row * time, row * time + length));
    let weights = null;
    if (attention) {
      const width = attention.dims[2]; // a graph may add to what it read, such as an end
      const real = reading.widths ? width - (widest - reading.widths[row]) : width;
      weights = ids.map((_, i) => {
        const first = (row * time + i) * width;
        return /** @type {number[]} */ (Array.from(attention.data.slice(first, first + real)));
      });
    }
    const text = continuation(tokenizer, reading.before[row], ids);
    return { text, tokens: ids, score: scores ? scores.data[row] : null, attention: weights };
  });
}

/** @param {number[]} numbers */
const largest = (numbers) => numbers.reduce((a, b) => Math.max(a, b), 0);

/** The text of tokens that follow others; word tokenizers may put a space between the two. */
function continuation(/** @type {Tokenizer} */ tokenizer, /** @type {number[]} */ before, /** @type {number[]} */ ids) {
  if (ids.length === 0) return "";
  const context = before.slice(-1);
  const text = tokenizer.decode([...context, ...ids]);
  const said = tokenizer.decode(context);
  return text.startsWith(said) ? text.slice(said.length) : text;
}

/** Whether it is one sound: samples in a typed array. @param {any} given */
export function isSound(given) {
  return (given instanceof Float32Array || given instanceof Float64Array) && given.length > 0;
}

/**
 * A sound as a batch of one, and an array of sounds padded to the longest with 0; others as they are.
 *
 * @param {any} given
 */
function paddedSounds(given) {
  const sounds = isSound(given) ? [given] : given;
  if (!Array.isArray(sounds) || sounds.length === 0 || !sounds.every(isSound)) return given;
  const time = largest(sounds.map((sound) => sound.length));
  const data = new Float32Array(sounds.length * time);
  sounds.forEach((sound, row) => data.set(sound, row * time));
  return { data, dims: [sounds.length, time] };
}

/** @param {TensorSpec[]} specs @param {any} given @returns {Reading} */
function readArrays(specs, given) {
  const wanted = specs.map(describe).join(", ");
  if (typeof given === "string" || (Array.isArray(given) && given.some((item) => typeof item === "string"))) {
    throw new InputError(`This file reads no text; expected arrays: ${wanted}.`);
  }
  const isOne = Array.isArray(given) || ArrayBuffer.isView(given) || (given && "data" in given && "dims" in given);
  if (isOne && specs.length > 1) throw new InputError(`Got one array; expected ${specs.length}: ${wanted}.`);
  const feeds = bind(specs, isOne ? { [specs[0].name]: given } : given);
  const rows = Object.values(feeds)[0].dims[0];
  return { feeds, rows, before: Array.from({ length: rows }, () => []), widths: null, ahead: 1 };
}
