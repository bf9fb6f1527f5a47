/** The tokenizers that there are, by the kind that a manifest names. */

import { CharacterTokenizer, CodePointTokenizer } from "./characters.js";
import { ArtefactError } from "./errors.js";
import { quote } from "./manifest.js";
import { SubwordTokenizer } from "./subwords.js";

/** @type {Record<string, (description: any) => import("./characters.js").Tokenizer | Promise<SubwordTokenizer>>} */
const KINDS = {
  characters: (description) => new CharacterTokenizer(description),
  code_points: (description) => new CodePointTokenizer(description),
  tokenizers: (description) => SubwordTokenizer.create(description),
};

/**
 * @param {Record<string, any>} description as a manifest holds it
 * @returns {Promise<import("./characters.js").Tokenizer>}
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
