/** Subword and word tokenizers, by the library @huggingface/tokenizers. */

import { agreeing, exchange } from "./agreement.js";
import { checked } from "./characters.js";
import { ArtefactError, InputError } from "./errors.js";
import { quote } from "./manifest.js";
import { checkDescription } from "./tokenizer_limits.js";

/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

/**
 * Special tokens come from `start`, `end`, `prepend` and `append` alone: a text that spells one, such as "<end>", is
 * encoded as the characters it has, and what the JSON's post-processor would add is left out. Added tokens that are not
 * special are found in texts.
 *
 * @implements {Tokenizer}
 */
export class SubwordTokenizer {
  /**
   * @param {any} library tokenizer of @huggingface/tokenizers
   * @param {Record<string, any>} json its tokenizer.json
   * @param {Record<string, any>} description as the manifest has it
   */
  constructor(library, json, { start, end, append, prepend }) {
    const { added_tokens: added, model } = json;
    this.#library = library;
    this.#ofWords = ["WordLevel", "WordPiece"].includes(model.type);
    for (const token of added) library.model.vocab[token.id] = token.content;
    // of tokens that share an id the library leaves room for each
    this.vocabularySize = 1 + library.model.vocab.findLastIndex((token) => token !== undefined);
    this.splitsCharacters = /ByteLevel|ByteFallback/.test(JSON.stringify(json.decoder ?? null));
    /** @type {number[]} */
    this.append = append ?? [];
    this.prepend = prepend ?? [];
    const around = [...this.append.map((id) => ["append", id]), ...this.prepend.map((id) => ["prepend", id])];
    for (const [name, token] of [["start", start], ["end", end], ...around]) {
      if (token != null && !(Number.isInteger(token) && token >= 0 && token < this.vocabularySize)) {
        throw damaged(`${name} is ${quote(token)} in a vocabulary of ${this.vocabularySize}.`);
      }
    }
    const unknown = added.find((token) => token.content === model.unk_token);
    this.#unknown = library.model.unk_token_id ?? unknown?.id;
    const special = added.filter((token) => token.special).map((token) => token.id);
    this.#silent = new Set([...special, start, end]);
    this.#silent.delete(this.#unknown);
    const spelled = added.filter((token) => !token.special);
    const isNormalized = (token) => library.normalizer !== null && (token.normalized ?? true);
    this.#asWritten = spelledTokens(spelled.filter((token) => !isNormalized(token)));
    const normalized = spelled.filter(isNormalized);
    this.#normalized = spelledTokens(normalized.map((token) => ({ ...token, content: library.normalizer(token.content) })));
  }

  #library;
  #asWritten; // tokens found in texts, and
  #normalized; // in normalized ones
  #ofWords;
  #unknown;
  #silent;

  /**
   * @param {Record<string, any>} description {"kind": "tokenizers", "json": "...", "start", "end", "append", "prepend"}
   * @returns {Promise<SubwordTokenizer>}
   * @throws {ArtefactError} it is damaged, or has parts that JavaScript does not read as Python does
   */
  static async create(description) {
    const { json: text, append, prepend } = description;
    if (typeof text !== "string" || ![append, prepend].every((ids) => ids == null || Array.isArray(ids))) {
      throw new ArtefactError('Not such a tokenizer; expected {"kind": "tokenizers", "json": "...", ...}.');
    }
    const parts = await import("@huggingface/tokenizers");
    let json, library;
    try {
      json = { added_tokens: [], ...JSON.parse(text) };
      checkDescription(json);
      const common = agreeing(json);
      library = new parts.Tokenizer(common, { unk_token: json.model.unk_token, clean_up_tokenization_spaces: false });
      exchange(library, parts);
    } catch (error) {
      if (error instanceof ArtefactError) throw error;
      throw damaged(`${/** @type {Error} */ (error).message.split("\n")[0].replace(/\.$/, "")}.`);
    }
    return new SubwordTokenizer(library, json, description);
  }

  /**
   * @param {string} text lone surrogates become U+FFFD
   * @returns {number[]} nothing is put before or after the text's own tokens
   */
  encode(text) {
    const { model } = this.#library;
    const pieces = this.#asWritten.split(wellFormed(text)).flatMap((part) => {
      return typeof part === "number" ? part : this.#normalized.split(this.#normalize(part));
    });
    const ids = pieces.flatMap((piece) => {
      if (typeof piece === "number") return piece;
      return model(this.#words(piece)).map((token) => model.tokens_to_ids.get(token) ?? model.unk_token_id);
    });
    return ids.map((id) => {
      if (id === undefined) throw new InputError(`The tokenizer can't read ${quote(text)}: it has no unknown token.`);
      return id;
    });
  }

  /** @param {string} text @returns {string} */
  #normalize(text) {
    const { normalizer } = this.#library;
    return normalizer === null || text === "" ? text : normalizer(text);
  }

  /** What the model splits further. @param {string} text normalized @returns {string[]} */
  #words(text) {
    const { pre_tokenizer: splitter } = this.#library;
    if (text === "") return [];
    return splitter === null ? [text] : splitter(text);
  }

  /** @param {ArrayLike<number>} ids @returns {string} padding, start and end become nothing */
  decode(ids) {
    const { vocab } = this.#library.model;
    const text = checked(ids, this.vocabularySize).filter((id) => !this.#silent.has(id) && vocab[id] !== undefined);
    return text.length ? this.#library.decode(text, { skip_special_tokens: false }) : "";
  }

  /** A word that normalizers may have written otherwise. @param {string} word @returns {string} */
  #spelled(word) {
    const { model, decoder } = this.#library;
    return model.config.type === "WordPiece" && decoder ? decoder.decode_chain([word]).join("") : word;
  }

  /** @param {string} text @returns {string[]} words, normalized, where the vocabulary is of words; else characters */
  unknown(text) {
    const characters = Array.from(text);
    const lost = characters.filter((character) => character !== wellFormed(character));
    if (this.#unknown !== undefined && text !== "") {
      if (this.#ofWords) {
        const { model } = this.#library;
        const isUnknown = (token) => (model.tokens_to_ids.get(token) ?? this.#unknown) === this.#unknown;
        for (const word of new Set(this.#words(this.#normalize(wellFormed(text))))) {
          if (model([word]).some(isUnknown)) lost.push(this.#spelled(word).replace(AROUND, "") || word);
        }
      } else {
        for (const character of new Set(characters)) {
          if (this.encode(character).includes(this.#unknown)) lost.push(character);
        }
      }
    }
    return [...new Set(lost)];
  }
}

// the white space at the ends of a word, as Python strips it
const AROUND = /^[\p{White_Space}\x1c-\x1f]+|[\p{White_Space}\x1c-\x1f]+$/gu;

/**
 * Added tokens that texts can spell.
 *
 * @param {any[]} added of a tokenizer.json
 * @returns {{split: (text: string) => (string | number)[]}} the parts of a text, and the ids of tokens between them
 */
function spelledTokens(added) {
  const ids = new Map(added.filter((token) => !token.special).map((token) => [token.content, token.id]));
  if (ids.size === 0) return { split: (text) => [text] };
  const contents = [...ids.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${contents.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|")})`);
  return { split: (text) => text.split(pattern).map((part, i) => (i % 2 ? /** @type {number} */ (ids.get(part)) : part)) };
}

/** @param {string} text */
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** @param {string} why */
const damaged = (why) => new ArtefactError(`A tokenizer is damaged, or needs a newer @huggingface/tokenizers: ${why}`);
