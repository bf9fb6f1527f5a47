/** Tokenizers of words between white space, single characters or n-grams, as Keras' TextVectorization splits text. */

import { checked } from "./characters.js";
import { ArtefactError } from "./errors.js";

/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

const UNKNOWN = 1; // 0 is padding
const MOST_LENGTH = 2 ** 20; // tokens of a text
const MOST_GRAMS = 64; // words of an n-gram, and kinds of them
const REPLACEMENT = "\ufffd";
const SPLITS = ["whitespace", "character"];
const PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/**
 * One token per word, character or n-gram, by a list of them. Letters, punctuation and white space are those of ASCII, as
 * TensorFlow has them: other letters keep their case, and a no-break space is a part of a word.
 *
 * @implements {Tokenizer}
 */
export class WordTokenizer {
  /**
   * @param {Record<string, any>} description {"kind": "words", "words": [...], "lower", "strip_punctuation", "split",
   *   "ngrams", "length", "pad", "start", "end"}
   * @throws {ArtefactError} it is damaged
   */
  constructor({
    words, lower = false, strip_punctuation: strip = false, split = SPLITS[0], ngrams, length = null, pad = true, start, end,
  }) {
    if (!Array.isArray(words) || words.length < 2 || words[0] !== "" || !words.every((x) => typeof x === "string")) {
      throw damaged("words is no list of texts that begins with \"\", for padding, and the unknown word.");
    }
    if (!SPLITS.includes(split)) throw damaged(`split is ${JSON.stringify(split)}; expected ${SPLITS.join(" or ")}.`);
    if (typeof lower !== "boolean" || typeof pad !== "boolean" || !["boolean", "string"].includes(typeof strip)) {
      throw damaged("lower and pad are true or false, strip_punctuation too, or the characters to strip.");
    }
    for (const token of [start ?? 1, end ?? 1]) {
      if (!(Number.isInteger(token) && token > 0 && token < words.length)) throw damaged("start and end are tokens.");
    }
    if (ngrams != null && !Array.isArray(ngrams)) throw damaged("ngrams is no array.");
    for (const number of [...(ngrams ?? []), length ?? 1]) {
      if (!(Number.isInteger(number) && number > 0)) throw damaged("ngrams and length are whole numbers of at least 1.");
    }
    if ((length ?? 0) > MOST_LENGTH || [...(ngrams ?? []), ngrams?.length ?? 0].some((number) => number > MOST_GRAMS)) {
      throw damaged(`ngrams are ${MOST_GRAMS} at most, and length ${MOST_LENGTH}: each text takes memory for as many.`);
    }
    this.#rules = { lower, strip: new Set(strip === true ? PUNCTUATION : strip || ""), split, length, pad };
    this.#silent = new Set([0, start, end]);
    this.#ngrams = ngrams ?? [];
    this.words = words;
    this.vocabularySize = words.length;
    this.splitsCharacters = false;
    this.takesEmpty = true;
    /** @type {number[]} */
    this.append = [];
    words.forEach((word, token) => token > UNKNOWN && word && this.#tokens.set(word, token));
  }

  #rules;
  #silent;
  #ngrams;
  /** @type {Map<string, number>} */
  #tokens = new Map();

  /** @param {string} text @returns {number[]} cut off or padded with 0 where all texts have as many tokens */
  encode(text) {
    const ids = this.#split(text).map((word) => this.#tokens.get(word) ?? UNKNOWN);
    const { length, pad } = this.#rules;
    if (length === null) return ids;
    if (!pad) return ids.slice(0, length);
    return Array.from({ length }, (_, i) => ids[i] ?? 0);
  }

  /** @param {ArrayLike<number>} ids @returns {string} U+FFFD for unknown words, nothing for padding, start and end */
  decode(ids) {
    const words = checked(ids, this.vocabularySize).filter((id) => !this.#silent.has(id));
    return words
      .map((id) => (id === UNKNOWN ? REPLACEMENT : this.words[id] || REPLACEMENT))
      .join(this.#rules.split === "whitespace" ? " " : "");
  }

  /** @param {string} text @returns {string[]} */
  unknown(text) {
    return [...new Set(this.#split(text))].filter((word) => !this.#tokens.has(word));
  }

  /** @param {string} text @returns {string[]} */
  #split(text) {
    const { lower, strip, split } = this.#rules;
    let read = text.replace(/\p{Surrogate}/gu, REPLACEMENT);
    if (lower) read = read.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    if (strip.size) read = Array.from(read).filter((character) => !strip.has(character)).join("");
    const words = split === "whitespace" ? (read.match(/[^\t-\r ]+/g) ?? []) : Array.from(read);
    return this.#ngrams.length ? this.#ngrams.flatMap((/** @type {number} */ count) => grams(words, count)) : words;
  }
}

/** @param {string[]} words @param {number} count @returns {string[]} */
const grams = (words, count) =>
  Array.from({ length: Math.max(0, words.length - count + 1) }, (_, i) => words.slice(i, i + count).join(" "));

/** @param {string} why */
const damaged = (why) => new ArtefactError(`A tokenizer of words is damaged: ${why}`);
