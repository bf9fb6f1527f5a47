/**
 * Reads the metadata of an ONNX file, which ONNX Runtime's JavaScript API does not show.
 *
 * An ONNX file is a protocol buffer: a row of fields, each a key (number and wire type) and a value. Of a ModelProto,
 * this reads the entries of field 14, `metadata_props`, and steps over all else.
 */

import { ArtefactError } from "./errors.js";

const GRAPH = 7; // ModelProto.graph
const METADATA = 14; // ModelProto.metadata_props: StringStringEntryProto, whose field 1 is the key and 2 the value
export const DAMAGED = "It is not an ONNX file, or it is damaged or truncated. Export or copy it again.";

/**
 * @param {Uint8Array} bytes an ONNX file
 * @returns {Map<string, string>}
 * @throws {ArtefactError} the bytes are no ONNX file, or damaged
 */
export function readMetadata(bytes) {
  const metadata = new Map();
  let graph = false;
  for (const [field, value] of fields(bytes)) {
    if (field === GRAPH) graph = true;
    if (field !== METADATA) continue;
    if (!(value instanceof Uint8Array)) throw new ArtefactError(DAMAGED);
    const entry = new Map(fields(value));
    metadata.set(text(entry.get(1)), text(entry.get(2)));
  }
  if (!graph) throw new ArtefactError(DAMAGED);
  return metadata;
}

/**
 * The fields of a message: bytes where they have a length, else undefined.
 *
 * @param {Uint8Array} bytes
 * @returns {Generator<[number, Uint8Array | undefined]>}
 */
function* fields(bytes) {
  let at = 0;

  function varint() {
    let value = 0;
    for (let factor = 1; at < bytes.length && factor < 2 ** 64; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor; // exact below 2 ** 53, more than any length or key
      if (byte < 128) return value;
    }
    throw new ArtefactError(DAMAGED);
  }

  while (at < bytes.length) {
    const key = varint();
    const [field, wireType] = [Math.floor(key / 8), key % 8];
    let value;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = varint();
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new ArtefactError(DAMAGED); // 3 and 4, groups, are in no ONNX file
    if (at > bytes.length || field === 0) throw new ArtefactError(DAMAGED);
    yield [field, value];
  }
}

/** @param {Uint8Array | undefined} bytes */
function text(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ArtefactError(DAMAGED);
  }
}
