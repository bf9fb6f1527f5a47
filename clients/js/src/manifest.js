/** The manifest of an exported file: signature, tokenizer, decoding defaults, parity, provenance. */

import { ArtefactError } from "./errors.js";
import { checkedExternalData } from "./external_data.js";
import { checkManifest } from "./manifest_schema.js";
import { isObject } from "./schema.js";

const METADATA_KEY = "tfseq";
const FORMAT = 1;

/**
 * One input or output.
 *
 * @typedef {object} TensorSpec
 * @property {string} name
 * @property {string} dtype NumPy's name of its type, such as "int32"
 * @property {(number | string)[]} shape one entry per axis: its size, or its name where any size is taken
 */

/**
 * One state of an artefact that reads sequences in chunks.
 *
 * @typedef {object} StateSpec
 * @property {string} input name of the input that takes it, (batch, ...)
 * @property {string} output name of the output that gives it after the chunk
 * @property {any} initial before the first chunk: one value for every element, or nested arrays without the batch axis
 */

/**
 * What an artefact is, how to run it, where it comes from and how it was verified.
 *
 * @typedef {object} Manifest
 * @property {string} name of the model
 * @property {"predict" | "generate" | "stream_generate"} task
 * @property {TensorSpec[]} inputs
 * @property {TensorSpec[]} outputs
 * @property {Record<string, number>} operators how often each operator occurs
 * @property {number} opset
 * @property {Record<string, any> | null} tokenizer
 * @property {string[]} labels names of the classes that the last axis of the first output counts; or none
 * @property {Record<string, any> | null} decoding the strategy, and the defaults of the settings
 * @property {Record<string, any>} provenance
 * @property {StateSpec[]} states
 * @property {string[]} notes
 * @property {Record<string, any> | null} parity
 * @property {Record<string, any> | null} quantization
 * @property {import("./external_data.js").ExternalData | null} external_data the second file, with the weights
 * @property {Record<string, number>} vocabulary_sizes of inputs that hold token ids, by name: each is below
 * @property {number | null} sampling_rate samples of sound for each second, of a model that reads it
 * @property {string | null} graph_sha256 hash of the graph and its weights; null in older files
 * @property {number} format
 */

/**
 * @param {Map<string, string>} metadata of an ONNX file
 * @returns {Manifest}
 * @throws {ArtefactError} there is no manifest, it is damaged, or of a newer format
 */
export function readManifest(metadata) {
  const json = metadata.get(METADATA_KEY);
  if (json === undefined) {
    throw new ArtefactError("There is no tfseq manifest in it. Export the model with tfseq.export.");
  }
  let value;
  try {
    value = JSON.parse(asJavaScriptReadsIt(json));
  } catch {
    throw new ArtefactError("The manifest is damaged: it is not JSON.");
  }
  if (!isObject(value)) throw new ArtefactError("The manifest is damaged: expected a JSON object.");
  if (Number.isInteger(value.format) && value.format > FORMAT) {
    throw new ArtefactError(
      `The manifest has format ${value.format}, and this tfseq reads up to ${FORMAT}. Upgrade tfseq to run it.`,
    );
  }
  checkManifest(value);
  const absent = {
    ...{ tokenizer: null, decoding: null, parity: null, quantization: null },
    ...{ sampling_rate: null, graph_sha256: null },
  };
  const given = Object.fromEntries(Object.entries(value).filter(([, each]) => each !== null));
  const empty = { provenance: {}, states: [], notes: [], labels: [], vocabulary_sizes: {} };
  /** @type {any} */
  const manifest = { ...absent, ...empty, ...given };
  manifest.external_data = checkedExternalData(value.external_data);
  return manifest;
}

/** @param {TensorSpec} spec */
export function describe(spec) {
  return `${spec.name} ${spec.dtype} (${spec.shape.join(", ")})`;
}

/** @param {any} value @returns {string} a value as messages show it */
export function quote(value) {
  if (typeof value === "bigint") return String(value);
  return (typeof value === "number" ? String(value) : JSON.stringify(value)) ?? String(value);
}

/** Python writes NaN and Infinity, which JSON does not know; strings are left alone. @param {string} json */
function asJavaScriptReadsIt(json) {
  const words = { NaN: "null", Infinity: "1e999", "-Infinity": "-1e999" };
  return json.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/gs, (word) => words[word] ?? word);
}
