/** SentencePiece's maps of characters ("precompiled_charsmap"), applied as Python's `tokenizers` applies them. */

const SHORT = 6; // bytes: of a character with marks that is shorter, the first part alone decides
const MOST_KNOWN = 10_000; // results that are kept

/**
 * What a map makes of texts.
 *
 * @param {string} encoded base64 of a map: the size of a double array in bytes, the array, and texts that end with 0
 * @returns {(text: string) => string}
 * @throws {Error} it is damaged
 */
export function charsmap(encoded) {
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  const size = new DataView(bytes.buffer).getUint32(0, true);
  if (size === 0 || size % 4 || size > bytes.length - 4) throw new Error("its precompiled_charsmap is cut off");
  const units = new Uint32Array(bytes.buffer.slice(4, 4 + size));
  const texts = bytes.subarray(4 + size);
  const encoder = new TextEncoder();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

  /** What the shortest beginning that the map has becomes, or null. @param {Uint8Array} key UTF-8 */
  function mapped(key) {
    let node = offset(units[0]);
    for (const byte of key) {
      if (byte === 0) return null;
      node ^= byte;
      const unit = units[node];
      if ((unit & 0x800000ff) !== byte) return null;
      node ^= offset(unit);
      if (unit & 0x100) {
        const start = units[node] & 0x7fffffff;
        const end = texts.indexOf(0, start);
        return decoder.decode(texts.subarray(start, end < 0 ? undefined : end));
      }
    }
    return null;
  }

  /** @type {Map<string, string>} */
  const known = new Map();
  /** @param {string} grapheme */
  function of(grapheme) {
    let result = known.get(grapheme);
    if (result === undefined) {
      const key = encoder.encode(grapheme);
      const whole = key.length < SHORT ? mapped(key) : null;
      result = whole ?? Array.from(grapheme, (character) => mapped(encoder.encode(character)) ?? character).join("");
      if (known.size < MOST_KNOWN) known.set(grapheme, result);
    }
    return result;
  }

  return (text) => Array.from(graphemes.segment(text), ({ segment }) => of(segment)).join("");
}

/** Of a unit of a double array, to its children. @param {number} unit */
const offset = (unit) => (unit >>> 10) << ((unit & 0x200) >>> 6);
