/** Tokenizers by the kind that a manifest names. */

import { CharacterTokenizer, CodePointTokenizer } from "./characters.js";
import { ArtefactError } from "./errors.js";
import { quote } from "./manifest.js";
import { SubwordTokenizer } from "./subwords.js";
import { WordTokenizer } from "./words.js";

/** @typedef {import("./characters.js").Tokenizer} Tokenizer */

/** @type {Record<string, (description: any) => Tokenizer | Promise<Tokenizer>>} */
const KINDS = {
  characters: (description) => new CharacterTokenizer(description),
  code_points: (description) => new CodePointTokenizer(description),
  tokenizers: (description) => SubwordTokenizer.create(description),
  pair: loadPair,
  words: (description) => new WordTokenizer(description),
};

/**
 * @param {Record<string, any>} description as a manifest holds it
 * @returns {Promise<Tokenizer>}
 * @throws {ArtefactError} the kind is unknown, or the description is damaged
 */
export async function loadTokenizer(description) {
  const kind = description?.kind;
  if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind)) {
    throw new ArtefactError(
      `This tfseq knows no tokenizer of kind ${quote(kind)} (known: ${Object.keys(KINDS).join(", ")}); ` +
        "a newer tfseq may.",
    );
  }
  return KINDS[kind](description);
}

/**
 * Two tokenizers, of an encoder-decoder that reads with one vocabulary and writes with another.
 *
 * @param {Record<string, any>} description {"kind": "pair", "source": {...}, "target": {...}}
 * @returns {Promise<Tokenizer>}
 */
async function loadPair(description) {
  const [source, target] = await Promise.all([loadTokenizer(description.source), loadTokenizer(description.target)]);
  return {
    vocabularySize: target.vocabularySize,
    splitsCharacters: target.splitsCharacters,
    prepend: source.prepend ?? [],
    append: source.append,
    encode: (text) => source.encode(text),
    decode: (ids) => target.decode(ids),
    unknown: (text) => source.unknown(text),
    writer: target,
  };
}
