/** `TextStream`: text generation token by token, one decode step of the graph at a time. */

import { InputError } from "./errors.js";
import { checkedTexts, continuesPrompts, encode, read, sourceSpecs, warnOfUnknown } from "./generation.js";
import { checkedLength, checkedSettings } from "./settings.js";
import { firstStates, takeStates } from "./chunks.js";
import { Tensor, requireFinite } from "./tensors.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

/** Made by `Model.stream`: gives the text piece by piece, and keeps what the model has read and written. */
export class TextStream {
  /**
   * @param {Manifest} manifest
   * @param {Tokenizer} tokenizer
   * @param {import("./chunks.js").Run} run
   * @param {any} given
   * @param {Record<string, any>} options
   * @param {boolean} [allowNaN]
   */
  constructor(manifest, tokenizer, run, given, { maxLength, prompt, ...settings }, allowNaN = false) {
    this.#manifest = manifest;
    this.#tokenizer = tokenizer;
    this.#run = run;
    this.#fixed = checkedSettings(manifest, settings);
    const reading = read(manifest, tokenizer, given, prompt);
    if (!allowNaN) requireFinite(sourceSpecs(manifest), reading.feeds);
    if (reading.rows !== 1 || Array.isArray(given)) {
      throw new InputError(`A stream writes one text at a time; got ${reading.rows} to start from.`);
    }
    this.#left = checkedLength(manifest, maxLength, reading.ahead);
    const prompts = continuesPrompts(manifest);
    if (!prompts) Object.assign(this.#fixed, reading.feeds);
    this.#unread = prompts ? reading.before[0] : [manifest.decoding?.start, ...reading.before[0]];
    this.#states = firstStates(manifest, 1);
    this.#pieces = new Pieces(tokenizer, reading.before[0]);
    /** What was written so far. */
    this.text = "";
    /** Its token ids (code points where the file reads those). @type {number[]} */
    this.tokens = [];
    /** The sum of the log-probabilities of the tokens and the end. */
    this.score = 0;
    /** Whether the model ended the sequence itself; only `maxLength` stops it otherwise. */
    this.ended = false;
  }

  #manifest;
  #tokenizer;
  #run;
  #left;
  #fixed;
  /** @type {number[]} */
  #unread;
  #states;
  #pieces;
  #late = ""; // a piece that `more` cut short
  #position = 0; // tokens that the model has read
  #index = 0; // tokens that it has written since it last read a text
  /** @type {Promise<any>} */
  #last = Promise.resolve(); // the piece that was asked for last: one at a time
  #writing = 0; // pieces that were asked for and are not there yet

  /**
   * @returns {AsyncGenerator<string, void>} pieces of text, which together are what `generate` returns; a loop that is
   *   left and begun again goes on where it was
   * @throws {InputError} the graph can't run
   */
  async *[Symbol.asyncIterator]() {
    for (let piece = await this.#next(); piece; piece = await this.#next()) yield piece;
  }

  /**
   * Goes on where the stream is, also in the middle of it.
   *
   * @param {string} [text] what the model reads first, as if it had written that itself
   * @param {{maxLength?: number}} [options] tokens to write from here on, at most
   * @returns {this}
   * @throws {InputError} the model has ended the sequence, an argument is out of range, or a piece is still awaited
   */
  more(text = "", { maxLength } = {}) {
    if (this.#writing) throw new InputError("The stream is writing a piece; await it before more().");
    if (this.ended) throw new InputError("The model has ended this sequence; begin another with stream.");
    /** @type {number[]} */
    let ids = [];
    if (text !== "") {
      const texts = checkedTexts(text, "text");
      const writer = this.#tokenizer.writer ?? this.#tokenizer;
      warnOfUnknown(writer, texts);
      ids = encode(writer, texts[0], "text");
    }
    const unread = [...this.#unread, ...ids];
    this.#left = checkedLength(this.#manifest, maxLength, this.#position + unread.length);
    if (ids.length) {
      this.#late += this.#pieces.rest();
      this.#pieces = new Pieces(this.#tokenizer, ids);
    }
    this.#unread = unread;
    this.#index = 0;
    return this;
  }

  #next() {
    this.#writing++;
    const piece = this.#last.then(() => this.#piece()).finally(() => this.#writing--);
    this.#last = piece.catch(() => {});
    return piece;
  }

  async #piece() {
    const ends = [this.#manifest.decoding?.end].flat(); // a token, or several
    let piece = this.#late;
    this.#late = "";
    while (!piece && this.#left > 0 && !this.ended) {
      const token = await this.#choose();
      this.#left--;
      if (ends.includes(token)) {
        this.ended = true;
      } else {
        this.tokens.push(token);
        piece = this.#pieces.add(token);
      }
    }
    piece ||= this.#pieces.rest();
    this.text += piece;
    return piece;
  }

  /** Runs decode steps on the tokens that the model has not read yet; returns the token it chooses last. */
  async #choose() {
    const { inputs, outputs } = this.#manifest;
    let chosen;
    const atOnce = inputs[0].shape.length === 2; // the file reads several tokens at once
    while (this.#unread.length) {
      const now = atOnce ? this.#unread : this.#unread.slice(0, 1);
      const later = this.#unread.slice(now.length);
      const feeds = {
        [inputs[0].name]: new Tensor("int32", Int32Array.from(now), atOnce ? [1, now.length] : [1]),
        position: new Tensor("int32", Int32Array.of(this.#position), []),
        index: new Tensor("int32", Int32Array.of(this.#index - later.length), []),
      };
      if (inputs.some(({ name }) => name === "max_length")) {
        feeds.max_length = new Tensor("int32", Int32Array.of(this.#index + this.#left), []);
      }
      chosen = await this.#run({ ...this.#fixed, ...this.#states, ...feeds });
      this.#states = takeStates(this.#manifest, chosen);
      this.#position += now.length;
      this.#unread = later;
    }
    const token = /** @type {Record<string, Tensor>} */ (chosen)[outputs[0].name].data[0];
    this.#unread = [token];
    this.#index++;
    this.score += /** @type {Record<string, Tensor>} */ (chosen).log_probability.data[0];
    return token;
  }
}

/** Tokens to text as they come; part of a character waits for the rest of it. */
class Pieces {
  /** @param {Tokenizer} tokenizer @param {number[]} before */
  constructor(tokenizer, before) {
    this.#tokenizer = tokenizer;
    this.#said = before.slice(-1);
  }

  #tokenizer;
  #said;
  /** @type {number[]} */
  #waiting = [];

  /** @param {number} token */
  add(token) {
    this.#waiting.push(token);
    const piece = this.#piece();
    if (this.#tokenizer.splitsCharacters && piece.endsWith("\ufffd")) return "";
    if (piece) this.#said = [token]; // of a token without a text, the next piece follows on what stood before it
    this.#waiting = [];
    return piece;
  }

  rest() {
    const piece = this.#waiting.length ? this.#piece() : "";
    if (this.#waiting.length) this.#said = this.#waiting.slice(-1);
    this.#waiting = [];
    return piece;
  }

  #piece() {
    const said = this.#tokenizer.decode(this.#said);
    return this.#tokenizer.decode([...this.#said, ...this.#waiting]).slice(said.length);
  }
}
