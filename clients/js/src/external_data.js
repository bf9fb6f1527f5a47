/** Weights in a second file beside the .onnx file: what the manifest says of it, where it lies, whether it is whole. */

import { ArtefactError, InputError } from "./errors.js";
import { beside, isPath, readBytes, sizeOf } from "./files.js";

/**
 * The second file.
 *
 * @typedef {object} ExternalData
 * @property {string} file its name; it lies in the folder of the .onnx file
 * @property {number} bytes its size
 * @property {string} sha256 of its content, in hexadecimal
 */

/**
 * @param {any} value as a manifest has it
 * @returns {ExternalData | null}
 * @throws {ArtefactError} it does not describe a file, or one outside the model's folder
 */
export function checkedExternalData(value) {
  if (value === undefined || value === null) return null;
  const { file, bytes, sha256 } = Object(value);
  const isName = typeof file === "string" && /^[^/\\\0]+$/.test(file) && !/^(\.{1,2}$|[a-z]:)/i.test(file);
  if (!isName || !Number.isSafeInteger(bytes) || bytes < 0 || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw new ArtefactError(
      `The manifest describes external data as ${JSON.stringify(value)}; expected file (a name without a folder), ` +
        "bytes, sha256.",
    );
  }
  return { file, bytes, sha256 };
}

/**
 * The weights of a model, for ONNX Runtime.
 *
 * @param {ExternalData} external
 * @param {string | URL | Uint8Array | ArrayBuffer} model path, address or bytes of the .onnx file
 * @param {Uint8Array | ArrayBuffer | undefined} given the weights, where they are not beside the model
 * @param {boolean} byPath whether ONNX Runtime can read a path itself
 * @returns {Promise<Uint8Array | undefined>} nothing where ONNX Runtime finds them beside the model
 * @throws {ArtefactError} the file is missing, or has another size
 * @throws {InputError} the model is given as bytes, the weights are not
 */
export async function readExternalData({ file, bytes }, model, given, byPath) {
  if (given !== undefined) {
    if (!(given instanceof Uint8Array || given instanceof ArrayBuffer)) {
      throw new InputError("externalData is neither a Uint8Array nor an ArrayBuffer.");
    }
    checkSize(file, bytes, given.byteLength);
    return given instanceof ArrayBuffer ? new Uint8Array(given) : given;
  }
  if (model instanceof Uint8Array || model instanceof ArrayBuffer) {
    throw new InputError(`The file's weights are in ${file}: give its bytes, too, as the option externalData.`);
  }
  const place = await beside(model, file);
  /** @param {Error} error @returns {never} */
  const absent = ({ message }) => {
    throw new ArtefactError(
      `Its weights are in ${file}, which is not beside it. ${message} Copy both files into one folder; ${file} has to ` +
        "keep its name.",
    );
  };
  if (isPath(model)) checkSize(file, bytes, await sizeOf(place).catch(absent));
  if (isPath(model) && byPath) return undefined;
  const data = await readBytes(place).catch(absent);
  checkSize(file, bytes, data.length);
  return data;
}

/** @param {string} file @param {number} expected @param {number} found */
function checkSize(file, expected, found) {
  if (found === expected) return;
  throw new ArtefactError(
    `Its weights are in ${file}, which has ${found} bytes in place of ${expected}. It is cut off, or another model's: ` +
      "copy both files again, from one export.",
  );
}
