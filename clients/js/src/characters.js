/** Character-level tokenizers: one token per character, or its Unicode code point. */

import { ArtefactError, InputError } from "./errors.js";
import { quote } from "./manifest.js";

const UNKNOWN = "<unk>";
const PADDING = "<pad>";
const NO_TEXT = [PADDING, "<start>", "<end>"];
const REPLACEMENT = 0xfffd;

/**
 * What every tokenizer does.
 *
 * @typedef {object} Tokenizer
 * @property {number} vocabularySize
 * @property {boolean} splitsCharacters whether a token may be a part of a character
 * @property {number[]} [prepend] tokens that what a model reads begins with: a prompt, a source, or a text to classify;
 *   not the prompt beside a source
 * @property {number[]} append tokens that an encoder-decoder's source ends with, and a text to classify
 * @property {boolean} [takesEmpty] whether a text among others may have no token, and is padding then
 * @property {(text: string) => number[]} encode
 * @property {(ids: ArrayLike<number>) => string} decode throws an InputError where an id is outside the vocabulary
 * @property {(text: string) => string[]} unknown what of the text has no token, each once
 * @property {Tokenizer} [writer] the tokenizer of what a model writes, and of its prompts; left out if it is this one
 */

/**
 * One token per character, by a list of symbols: `symbols[i]` is the character of token i. `symbols[0]` is "<unk>", any other character,
 * or "<pad>", and then "<unk>" is another one; "<pad>", "<start>" and "<end>" are not text.
 *
 * @implements {Tokenizer}
 */
export class CharacterTokenizer {
  /**
   * @param {Record<string, any>} description {"kind": "characters", "symbols": [...]}
   * @throws {ArtefactError} it is damaged
   */
  constructor(description) {
    this.symbols = symbolsOf(description);
    this.vocabularySize = this.symbols.length;
    this.splitsCharacters = false;
    /** @type {number[]} */
    this.append = [];
    if (this.symbols[0] !== UNKNOWN && this.symbols[0] !== PADDING) {
      throw damaged(`The first symbol is ${quote(this.symbols[0])}; expected ${quote(UNKNOWN)} or ${quote(PADDING)}.`);
    }
    this.#unknown = this.symbols.indexOf(UNKNOWN);
    if (this.#unknown < 0) throw damaged(`There is no symbol ${quote(UNKNOWN)}, which stands for unknown characters.`);
    this.codePoints = this.symbols.map((symbol) => {
      if (symbol === UNKNOWN || NO_TEXT.includes(symbol)) return REPLACEMENT;
      if (Array.from(symbol).length !== 1) throw damaged(`The symbol ${quote(symbol)} is not a single character.`);
      return /** @type {number} */ (symbol.codePointAt(0));
    });
    this.#silent = new Set(NO_TEXT.map((symbol) => this.symbols.indexOf(symbol)));
    this.symbols.forEach((symbol, token) => {
      if (this.#tokens.has(symbol)) throw damaged(`Each symbol may appear once; ${quote(symbol)} is repeated.`);
      this.#tokens.set(symbol, token);
    });
  }

  /** @type {Map<string, number>} */
  #tokens = new Map();
  #silent;
  #unknown;

  /** @param {string} text @returns {number[]} the token of "<unk>" where the character is unknown */
  encode(text) {
    return Array.from(text, (character) => this.#tokens.get(character) ?? this.#unknown);
  }

  /** @param {ArrayLike<number>} ids @returns {string} U+FFFD for the unknown token, nothing for padding, start and end */
  decode(ids) {
    const text = checked(ids, this.vocabularySize).filter((id) => !this.#silent.has(id));
    return textOf(text.map((id) => this.codePoints[id]));
  }

  /** @param {string} text */
  unknown(text) {
    return unknownCharacters(text, this.symbols);
  }
}

/**
 * Unicode code points themselves, for a graph that maps them to its token ids and back.
 *
 * @implements {Tokenizer}
 */
export class CodePointTokenizer {
  /**
   * @param {Record<string, any>} description {"kind": "code_points", "symbols": [...]}; the graph reads other
   *   characters as its unknown token
   * @throws {ArtefactError} it is damaged
   */
  constructor(description) {
    this.symbols = symbolsOf(description);
    this.vocabularySize = 0x110000;
    this.splitsCharacters = false;
    /** @type {number[]} */
    this.append = [];
  }

  /** @param {string} text @returns {number[]} lone surrogates included */
  encode(text) {
    return Array.from(text, (character) => /** @type {number} */ (character.codePointAt(0)));
  }

  /** @param {ArrayLike<number>} ids */
  decode(ids) {
    return textOf(checked(ids, this.vocabularySize));
  }

  /** @param {string} text */
  unknown(text) {
    return unknownCharacters(text, this.symbols);
  }
}

/**
 * @param {ArrayLike<number>} ids
 * @param {number} size of the vocabulary
 * @returns {number[]}
 * @throws {InputError} an id is no whole number, below 0, or `size` or more
 */
export function checked(ids, size) {
  const tokens = Array.from(ids, Number);
  const outside = tokens.find((id) => !(Number.isInteger(id) && id >= 0 && id < size));
  if (outside !== undefined) {
    throw new InputError(`Token ${outside} is outside the vocabulary of ${size} tokens.`);
  }
  return tokens;
}

/** @param {number[]} codePoints */
function textOf(codePoints) {
  return codePoints.map((code) => String.fromCodePoint(code)).join("");
}

/** @param {string} text @param {string[]} symbols */
function unknownCharacters(text, symbols) {
  const known = new Set(symbols);
  return [...new Set(text)].filter((character) => !known.has(character));
}

/** @param {Record<string, any>} description @returns {string[]} */
function symbolsOf({ kind, symbols }) {
  if (!Array.isArray(symbols)) {
    throw new ArtefactError(`Not a tokenizer of characters; expected {"kind": "${kind}", "symbols": [...]}.`);
  }
  if (!symbols.every((symbol) => typeof symbol === "string")) throw damaged("A symbol of it is no text.");
  return symbols;
}

/** @param {string} why */
const damaged = (why) => new ArtefactError(`A tokenizer of characters is damaged: ${why}`);
