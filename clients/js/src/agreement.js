/**
 * Makes @huggingface/tokenizers read a tokenizer.json as Python's `tokenizers` does, or refuses the file.
 *
 * @huggingface/tokenizers reads the same files as the library that Python uses, but not all alike: JavaScript's white
 * space, word characters and capitals are others. The parts that differ are exchanged here for ones that agree, and
 * what is not known to agree is refused: other tokens than the model was trained with would give wrong text without a
 * word. Left are characters newer than the Unicode tables of one of the two.
 */

import { charsmap } from "./charsmap.js";
import { ArtefactError } from "./errors.js";
import { quote } from "./manifest.js";

const SPACE = "\\p{White_Space}"; // \s of JavaScript has U+FEFF, and lacks U+0085
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}"; // \w of JavaScript is ASCII

/**
 * The tokenizer.json with parts that both libraries read alike.
 *
 * @param {Record<string, any>} json
 * @throws {ArtefactError} there is none
 */
export function agreeing(json) {
  const { model, normalizer, pre_tokenizer: splitter, decoder, added_tokens: added } = json;
  const isPlain = ["continuing_subword_prefix", "end_of_word_suffix"].every((name) => !model[name]);
  allow("model", model, {
    WordLevel: true,
    WordPiece: ["unk_token", "continuing_subword_prefix"].every((name) => typeof model[name] === "string"),
    BPE: isPlain && !model.dropout,
    Unigram: true,
  });
  const spelled = added.filter((token) => !token.special);
  if (spelled.some((token) => token.single_word || token.lstrip || token.rstrip)) {
    throw disagrees("added tokens that are not special and take spaces or words with them");
  }
  return {
    ...json,
    model,
    added_tokens: [], // text is text, whatever it spells
    normalizer: normalizer && agreeingNormalizer(normalizer),
    pre_tokenizer: splitter && agreeingSplitter(splitter),
    decoder: decoder && agreeingDecoder(decoder),
    post_processor: null,
  };
}

/** @param {any} part @returns {any} */
function agreeingNormalizer(part) {
  if (part.type === "Sequence") return { ...part, normalizers: part.normalizers.map(agreeingNormalizer) };
  const forms = ["NFC", "NFD", "NFKC", "NFKD"];
  const same = [...forms, "Lowercase", "Strip", "StripAccents", "Precompiled", "Prepend", "Replace"];
  allow("normalizer", part, Object.fromEntries(same.map((type) => [type, true])));
  return part.type === "Replace" ? literal(part) : part;
}

/** @param {any} part @returns {any} */
function agreeingSplitter(part) {
  if (part.type === "Sequence") return { ...part, pretokenizers: part.pretokenizers.map(agreeingSplitter) };
  const isolated = part.behavior === "Isolated";
  allow("pre-tokenizer", part, {
    ByteLevel: true,
    Whitespace: true,
    WhitespaceSplit: true,
    Metaspace: part.prepend_scheme === "always",
    Digits: true,
    Split: part.behavior === "Removed" || (isolated && !part.invert),
  });
  switch (part.type) {
    case "Whitespace":
      return pieces(`[${WORD}]+|[^${WORD}${SPACE}]+`);
    case "WhitespaceSplit":
      return pieces(`[^${SPACE}]+`);
    case "Digits":
      return pieces(`\\P{N}+|\\p{N}${part.individual_digits ? "" : "+"}`);
    case "Metaspace": {
      const { replacement } = part;
      return part.split === false
        ? part
        : { type: "Sequence", pretokenizers: [part, pieces(`${replacement}[^${replacement}]*|[^${replacement}]+`)] };
    }
    default:
      return part;
  }
}

/** A pre-tokenizer that keeps what matches. @param {string} regex */
const pieces = (regex) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Removed", invert: true });

/** @param {any} part @returns {any} */
function agreeingDecoder(part) {
  if (part.type === "Sequence") return { ...part, decoders: part.decoders.map(agreeingDecoder) };
  allow("decoder", part, {
    ByteLevel: true,
    ByteFallback: true,
    Fuse: true,
    Replace: true,
    Strip: true,
    WordPiece: !part.cleanup,
    Metaspace: part.prepend_scheme === "always",
  });
  return part.type === "Replace" ? literal(part) : part;
}

/** JavaScript reads "$" in what it puts in as a command. @param {any} part */
const literal = (part) => ({ ...part, content: part.content.replaceAll("$", "$$$$") });

/**
 * @param {string} what
 * @param {any} part of a tokenizer.json
 * @param {Record<string, boolean>} allowed by type
 */
function allow(what, part, allowed) {
  if (Object.hasOwn(allowed, part.type) && allowed[part.type]) return;
  throw disagrees(`a ${what} ${quote({ ...part, vocab: undefined, merges: undefined })}`);
}

/**
 * Exchanges those parts that no other description makes agree.
 *
 * @param {any} library tokenizer
 * @param {any} parts module of the library
 */
export function exchange(library, parts) {
  const bytes =
    `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|` +
    `[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`;
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  const { model } = library;
  if (model instanceof parts.Unigram) {
    const scores = model.config.vocab.map(([, score]) => score);
    model.tokenize = (text) => unigramPieces(model, scores, text);
  }
  for (const part of flat(library.normalizer, "normalizers")) {
    if (part instanceof parts.LowercaseNormalizer) {
      // a sigma at the end of a word is like any other
      part.normalize = (text) => Array.from(text, (character) => character.toLowerCase()).join("");
    }
    if (part instanceof parts.StripNormalizer) {
      const { strip_left: left, strip_right: right } = part.config;
      const ends = [left && `^[${SPACE}]+`, right && `[${SPACE}]+$`].filter(Boolean).join("|");
      part.normalize = (text) => (ends ? text.replace(new RegExp(ends, "gu"), "") : text);
    }
    if (part instanceof parts.PrecompiledNormalizer) part.normalize = charsmap(part.charsmap);
    if (part instanceof parts.PrependNormalizer) {
      part.normalize = (text) => text && part.config.prepend + text;
    }
    if (part instanceof parts.StripAccentsNormalizer) {
      part.normalize = (text) => text.replace(/\p{M}/gu, "");
    }
  }
  for (const part of flat(library.pre_tokenizer, "tokenizers")) {
    if (part instanceof parts.ByteLevelPreTokenizer) part.pattern = new RegExp(bytes, "gu");
  }
  for (const part of flat(library.decoder, "decoders")) {
    if (part instanceof parts.MetaspaceDecoder) {
      // of the first token all spaces go
      part.decode_chain = (tokens) => tokens.map((token, i) => token.replaceAll(part.replacement, i === 0 ? "" : " "));
    }
    if (part instanceof parts.ByteFallbackDecoder) {
      part.decode_chain = (tokens) => decodeBytes(tokens, strict);
    }
  }
}

/**
 * The most likely segmentation of a text by Unigram (Kudo, 2018, eq. 3), with ties and rounding of Python's library.
 *
 * @param {any} model Unigram
 * @param {number[]} scores of the vocabulary, logarithms
 * @param {string} text
 * @returns {string[]}
 */
function unigramPieces(model, scores, text) {
  const characters = Array.from(text);
  const scoreOfUnknown = Math.min(...scores) - 10;
  /** @type {{score: number, start: number}[]} */
  const best = []; // by end, of the paths that end there
  for (let start = 0; start < characters.length; start++) {
    const before = start === 0 ? 0 : best[start].score;
    const reach = (end, score) => {
      if (best[end] === undefined || before + score > best[end].score) best[end] = { score: before + score, start };
    };
    let single = false;
    for (const piece of model.trie.common_prefix_search(characters, start)) {
      const length = Array.from(piece).length;
      reach(start + length, scores[model.tokens_to_ids.get(piece)]);
      single ||= length === 1;
    }
    if (!single) reach(start + 1, scoreOfUnknown);
  }
  const pieces = [];
  for (let end = characters.length; end > 0; end = best[end].start) {
    pieces.unshift(characters.slice(best[end].start, end).join(""));
  }
  return model.config.byte_fallback ? pieces.flatMap((piece) => withBytes(model, piece)) : pieces;
}

/** A piece, or where the vocabulary lacks it its bytes. @param {any} model @param {string} piece @returns {string[]} */
function withBytes(model, piece) {
  if (model.tokens_to_ids.has(piece)) return [piece];
  const bytes = Array.from(new TextEncoder().encode(piece), (byte) => {
    return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  });
  return bytes.every((byte) => model.tokens_to_ids.has(byte)) ? bytes : [piece];
}

/** A part, or the parts of a sequence, in any depth. @param {any} part @param {string} name @returns {any[]} */
function flat(part, name) {
  if (part === null) return [];
  return Array.isArray(part[name]) ? part[name].flatMap((inner) => flat(inner, name)) : [part];
}

/** Tokens such as "<0x41>" as text; each byte of a row that is not UTF-8 as U+FFFD. */
function decodeBytes(tokens, strict) {
  /** @type {string[]} */
  const texts = [];
  /** @type {number[]} */
  let bytes = [];
  for (const token of [...tokens, null]) {
    const byte = token?.match(/^<0x([0-9A-Fa-f]{2})>$/)?.[1];
    if (byte !== undefined) {
      bytes.push(parseInt(byte, 16));
      continue;
    }
    if (bytes.length) {
      try {
        texts.push(strict.decode(Uint8Array.from(bytes)));
      } catch {
        texts.push(...bytes.map(() => "\ufffd"));
      }
      bytes = [];
    }
    if (token !== null) texts.push(token);
  }
  return texts;
}

/** @param {string} what */
const disagrees = (what) =>
  new ArtefactError(
    `Its tokenizer has ${what}, which JavaScript is not known to read as Python does; run it in Python.`,
  );
