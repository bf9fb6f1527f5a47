/** `Model`: an exported file loaded for inference, to predict, classify, generate or stream. */

import { labelledOutput, named, textFeeds, withTexts } from "./classification.js";
import { ArtefactError, InputError } from "./errors.js";
import { readExternalData } from "./external_data.js";
import { asPath, readBytes } from "./files.js";
import { isSound, read, written } from "./generation.js";
import { readManifest } from "./manifest.js";
import { readMetadata } from "./metadata.js";
import { DEFAULT, Session } from "./session.js";
import { checkedLength, checkedSettings, describedSettings, lengthName } from "./settings.js";
import { Chunks } from "./chunks.js";
import { Tensor, bind, isKnown, requireFinite, requireTokens, zeros } from "./tensors.js";
import { TextStream } from "./text_stream.js";
import { loadTokenizer } from "./tokenizers.js";

/** @typedef {import("./generation.js").Generation} Generation */
/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

/**
 * Settings of a generation, those that the file has; what is left out takes the file's default.
 *
 * @typedef {object} Settings
 * @property {number} [maxLength] tokens to write, at most
 * @property {number} [minLength] tokens before the text may end
 * @property {number} [temperature] 0 takes the most likely token, 1 samples from the model's distribution
 * @property {number} [topK] samples from the `topK` most likely tokens; 0 from all
 * @property {number} [topP] samples from the most likely tokens that together have this probability; 1 from all
 * @property {number} [seed] the same seed gives the same text
 * @property {number} [lengthPenalty] of beam search; 0 favours short texts, 1 or more longer ones
 * @property {number} [repetitionPenalty] above 1 makes tokens that the row has read or written less likely
 * @property {number} [minP] samples from the tokens at least this many times as likely as the most likely one
 */

/**
 * Others that the file's decoding strategy has are taken, too: `model.settings` describes them all.
 *
 * @typedef {Settings & Record<string, any>} AnySettings
 */

/**
 * What the output of an encoder-decoder begins with, such as the tokens that name a task: a text or token ids (code
 * points where the file reads those), for all sources; or an array of these, one for each, "" for none.
 *
 * @typedef {string | ArrayLike<number> | (string | ArrayLike<number>)[]} Prompt
 */

/** One artefact: an ONNX graph and the manifest that says how to run it. Made by `load`. */
export class Model {
  /**
   * @param {string} name for messages
   * @param {Manifest} manifest
   * @param {Tokenizer | null} tokenizer
   * @param {Session} session
   * @param {boolean} [allowNaN]
   */
  constructor(name, manifest, tokenizer, session, allowNaN = false) {
    this.#name = name;
    this.#session = session;
    this.#allowNaN = allowNaN;
    /** The file's task, signature, decoding defaults, provenance and parity report. */
    this.manifest = manifest;
    /** Text to token ids and back; null if the model reads no text. */
    this.tokenizer = tokenizer;
  }

  #name;
  #session;
  #allowNaN;

  /**
   * The settings that `generate` takes beside `maxLength`, by name: type, default, neutral value, range and description
   * of each, as far as the file says; none of a file that does not generate.
   *
   * @returns {Record<string, import("./settings.js").Setting>}
   */
  get settings() {
    return this.manifest.task === "predict" ? {} : describedSettings(this.manifest);
  }

  /**
   * Runs the graph on its inputs.
   *
   * @param {Record<string, any>} named one per input of `manifest.inputs`: a number, nested arrays, a typed array if
   *   all axes but one are known, or {data, dims}. Types are cast where no value changes. A text, or
   *   an array of texts, is taken for token ids where the file has a tokenizer, and for strings, one for each row.
   * @returns {Promise<Record<string, Tensor>>} the outputs by name
   * @throws {InputError} a name, type, rank or size does not fit the signature; the file keeps states, which `chunks`
   *   takes care of, and they are not given
   */
  async predict(named) {
    this.#requireStates(named);
    return this.#session.run(this.#finite(this.#bound(named)));
  }

  /** @param {any} given arrays by name, or texts where the file has a tokenizer @returns {Record<string, Tensor>} */
  #bound(given) {
    const predicts = this.manifest.task === "predict";
    return bind(this.manifest.inputs, predicts ? withTexts(this.manifest, this.tokenizer, given) : given);
  }

  /**
   * Classifies inputs: `predict`, with the most likely class by name.
   *
   * @param {any} given arrays by name as `predict` takes them, or the array alone of a model of one input; or a text, or
   *   an array of texts, for a file that reads text
   * @returns {Promise<any>} the most likely class and its probability, { name, probability }: one for a text, an array of
   *   them for a batch; arrays in an array where every step is classified
   * @throws {InputError} the file names no classes, or as `predict` does
   */
  async classify(given) {
    this.#requireStates(given);
    const { name } = labelledOutput(this.manifest);
    const feeds = textFeeds(this.manifest, this.tokenizer, given) ?? this.#bound(this.#byName(given));
    const outputs = await this.#session.run(this.#finite(feeds));
    const found = named(this.manifest.labels, outputs[name].toArray());
    return typeof given === "string" ? found[0] : found;
  }

  /**
   * @param {Record<string, Tensor>} feeds
   * @returns {Record<string, Tensor>} the same
   */
  #finite(feeds) {
    if (!this.#allowNaN) {
      const states = this.manifest.states.map(({ input }) => input);
      const specs = this.manifest.inputs.filter(({ name }) => name in feeds && !states.includes(name));
      requireFinite(specs, feeds);
    }
    requireTokens(this.#vocabularySizes(), feeds);
    return feeds;
  }

  /** Of the inputs that hold token ids: as the manifest says, or the tokenizer of a file that writes. */
  #vocabularySizes() {
    const { task, inputs, vocabulary_sizes: sizes } = this.manifest;
    if (task !== "generate" || this.tokenizer === null) return sizes;
    return inputs.some(({ name }) => name === "prompt") && !Object.hasOwn(sizes, "prompt")
      ? { ...sizes, prompt: (this.tokenizer.writer ?? this.tokenizer).vocabularySize }
      : sizes;
  }

  /** @param {any} given arrays by name, or something else that holds no states */
  #requireStates(given) {
    const { task, states } = this.manifest;
    const missing = states.map(({ input }) => input).filter((input) => !Object.hasOwn(Object(given), input));
    if (missing.length === 0) return;
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
    throw new InputError(`${this.#name} ${keepsStates(task, missing.slice(0, 3).join(", ") + more)}`);
  }

  /** An array alone is that of the only input. @param {any} given */
  #byName(given) {
    const text = typeof given === "string";
    const alone = text || Array.isArray(given) || ArrayBuffer.isView(given) || given instanceof Tensor;
    return alone && this.manifest.inputs.length === 1 ? { [this.manifest.inputs[0].name]: given } : given;
  }

  /**
   * Generates text: continues each prompt, or turns each source into its output, such as its translation.
   *
   * @param {any} given the prompt of a language model, or the source of an encoder-decoder: a text, or an array of
   *   texts, at least one character each. For a model that reads no text an array of several, (batch, ...), or an
   *   object of arrays by name; for one that reads sound (`manifest.sampling_rate`) the samples of a sound in a
   *   Float32Array, or an array of these.
   * @param {AnySettings & {details?: boolean, prompt?: Prompt}} [options] settings of the file; `details` also returns
   *   scores, tokens and, where the file has it, attention; `prompt` is for files exported with `prefix=True`
   * @returns {Promise<any>} the continuation without the prompt, or the output for the source; an array of them for an
   *   array. With `details` a `Generation` in place of each text.
   * @throws {InputError} the file does not generate text, a text is empty, or the file has no such setting or takes no
   *   prompt; a number is out of range
   */
  async generate(given, { maxLength, prompt, details = false, ...settings } = {}) {
    const tokenizer = this.#writer("generate");
    const chosen = checkedSettings(this.manifest, settings);
    const reading = read(this.manifest, tokenizer, given, prompt);
    this.#finite(reading.feeds);
    const length = checkedLength(this.manifest, maxLength, reading.ahead);
    const limit = new Tensor("int32", Int32Array.of(length), []);
    const outputs =
      length === 0
        ? { tokens: zeros("int32", [reading.rows, 0]) }
        : await this.#session.run({ ...reading.feeds, [lengthName(this.manifest)]: limit, ...chosen });
    const generations = written(tokenizer, reading, outputs);
    const results = details ? generations : generations.map(({ text }) => text);
    const alone = typeof given === "string" || (this.manifest.sampling_rate != null && isSound(given));
    return alone ? results[0] : results;
  }

  /**
   * `generate` for one text, token by token: for files of one decode step (`streaming=True`).
   *
   * @param {any} given as `generate` takes it
   * @param {AnySettings & {prompt?: Prompt}} [settings] with the `prompt` of any encoder-decoder
   * @returns {TextStream} to loop over with `for await`; its pieces together are what `generate` returns
   * @throws {InputError} the file is not exported for streaming, or as `generate` does
   */
  stream(given, settings = {}) {
    const tokenizer = this.#writer("stream_generate");
    return new TextStream(this.manifest, tokenizer, (feeds) => this.#session.run(feeds), given, settings, this.#allowNaN);
  }

  /**
   * A sequence of arrays to read chunk by chunk, from its beginning.
   *
   * @returns {Chunks}
   * @throws {InputError} the file reads whole sequences
   */
  chunks() {
    if (this.manifest.task === "stream_generate") {
      throw new InputError(`${this.#name} generates step by step; call stream.`);
    }
    if (this.manifest.states.length === 0) {
      throw new InputError(`${this.#name} has no states to keep; export the model with streaming=True.`);
    }
    return new Chunks(this.manifest, (feeds) => this.#session.run(feeds), this.#allowNaN);
  }

  /** Frees the memory of the graph; the model can't be used afterwards. */
  async release() {
    await this.#session.release();
  }

  /** The tokenizer of a file that does this task. @param {"generate" | "stream_generate"} task */
  #writer(task) {
    if (this.manifest.task !== task) {
      throw new InputError(`${this.#name} ${OTHER_TASK[task][this.manifest.task]}`);
    }
    if (this.tokenizer === null) {
      throw new InputError(`${this.#name} has no tokenizer to read and write text with; call predict with token ids.`);
    }
    return this.tokenizer;
  }
}

/** @param {string} task @param {string} missing */
const keepsStates = (task, missing) =>
  task === "stream_generate"
    ? `generates step by step, with states in between (missing: ${missing}); call stream.`
    : `reads a sequence chunk by chunk, with states in between (missing: ${missing}); call chunks(), whose predict ` +
      "keeps them, or export the model with streaming=False.";

/** @type {Record<string, Record<string, string>>} */
const OTHER_TASK = {
  generate: {
    predict: "predicts and does not generate; export a generator with decode=tfseq.Sample().",
    stream_generate: "generates step by step; call stream, or export the model without streaming.",
  },
  stream_generate: {
    predict: "does not generate step by step; export a generator with decode=tfseq.Sample(), streaming=True.",
    generate: "generates whole texts; call generate, or export the model with streaming=True.",
  },
};

/**
 * Opens a file that `tfseq.export` wrote.
 *
 * @param {string | URL | Uint8Array | ArrayBuffer} file its path (Node), its address, or its bytes
 * @param {import("./session.js").SessionOptions & {allowNaN?: boolean}} [options] `allowNaN`: whether float inputs may
 *   hold NaN and infinity, of which an ONNX graph may make something else than Keras
 * @returns {Promise<Model>}
 * @throws {ArtefactError} the file is missing, is no ONNX file, is damaged, or has no manifest; the second file of
 *   weights, where it has one, is missing or has another size
 * @throws {InputError} there is no such backend; the weights are not given with a file that is given as bytes
 */
export async function load(file, options = {}) {
  const isBytes = file instanceof Uint8Array || file instanceof ArrayBuffer;
  const name = isBytes ? "The file" : String(file);
  const bytes = isBytes ? new Uint8Array(file) : await readBytes(file);
  try {
    const manifest = readManifest(readMetadata(bytes));
    const tokenizer = manifest.tokenizer === null ? null : await loadTokenizer(manifest.tokenizer);
    checkTypes(manifest);
    const session = await open(file, bytes, manifest, options);
    checkNames("inputs", manifest.inputs, session.inputNames);
    checkNames("outputs", manifest.outputs, session.outputNames);
    return new Model(name.split("/").at(-1) ?? name, manifest, tokenizer, session, options.allowNaN);
  } catch (error) {
    if (!(error instanceof ArtefactError)) throw error;
    throw new ArtefactError(`${name} can't be used: ${error.message}`);
  }
}

/**
 * @param {string | URL | Uint8Array | ArrayBuffer} file as `load` takes it
 * @param {Uint8Array} bytes of the file
 * @param {Manifest} manifest
 * @param {import("./session.js").SessionOptions} options
 */
async function open(file, bytes, manifest, options) {
  const external = manifest.external_data;
  const threads = suitableThreads(manifest, bytes.length + (external?.bytes ?? 0));
  if (external === null) return Session.create(bytes, options, threads);
  const native = (options.backend ?? DEFAULT) === "node";
  const data = await readExternalData(external, file, options.externalData, native);
  if (data) return Session.create(bytes, options, threads, [{ path: external.file, data }]);
  return Session.create(await asPath(/** @type {string | URL} */ (file)), options, threads);
}

const SMALL = 2_000_000; // bytes

/**
 * How many threads are quickest: one for small files that generate, whose steps are over before a second thread has its
 * share, and for others as many as there are cores.
 *
 * @param {Manifest} manifest
 * @param {number} size in bytes
 */
function suitableThreads({ task }, size) {
  return task !== "predict" && size < SMALL ? 1 : undefined;
}

/** @param {Manifest} manifest */
function checkTypes({ inputs }) {
  for (const { name, dtype } of inputs) {
    if (!isKnown(dtype)) throw new ArtefactError(`JavaScript has no type "${dtype}", which "${name}" has.`);
  }
}

/** @param {"inputs" | "outputs"} side @param {import("./manifest.js").TensorSpec[]} specs @param {readonly string[]} names of the graph */
function checkNames(side, specs, names) {
  const described = specs.map((spec) => spec.name);
  if ([...described].sort().join("\n") !== [...names].sort().join("\n")) {
    throw new ArtefactError(
      `The manifest describes the ${side} ${described.join(", ")}; the graph ${side === "inputs" ? "takes" : "gives"} ${names.join(", ")}.`,
    );
  }
}
