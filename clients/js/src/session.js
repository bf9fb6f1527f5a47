/** `Session`: an ONNX Runtime session, whose failures become `ArtefactError` or `InputError`. */

import { ArtefactError, InputError } from "./errors.js";
import { fromHalves, toHalves } from "./float16.js";
import { importInNode, inNode } from "./files.js";
import { DAMAGED } from "./metadata.js";
import { Tensor } from "./tensors.js";

/** @type {Record<string, {package: string, provider: string, import: () => Promise<any>}>} */
const BACKENDS = {
  node: { package: "onnxruntime-node", provider: "cpu", import: () => importInNode("onnxruntime-node") },
  wasm: {
    package: "onnxruntime-web",
    provider: "wasm",
    // in browsers the part without WebGPU, which is a third of the size; Node can't load that one
    import: () => (inNode ? importInNode("onnxruntime-web") : import("onnxruntime-web/wasm")),
  },
};
export const DEFAULT = inNode ? "node" : "wasm"; // backend
const QUIET = { logSeverityLevel: 4 }; // what goes wrong is thrown; the log would repeat it

/**
 * How to run a graph.
 *
 * @typedef {object} SessionOptions
 * @property {"node" | "wasm"} [backend] native code, which is the default in Node, or WebAssembly
 * @property {number} [threads] of this file; with WebAssembly, of all files, as the first one says
 * @property {Uint8Array | ArrayBuffer} [externalData] the weights of a file that has them in a second one; needed where
 *   the first is given as bytes, else they are read from beside it
 */

/** An ONNX graph, opened on the CPU. */
export class Session {
  /**
   * @param {any} runtime module of ONNX Runtime
   * @param {any} session
   */
  constructor(runtime, session) {
    this.#runtime = runtime;
    this.#session = session;
    /** @type {readonly string[]} */
    this.inputNames = session.inputNames;
    /** @type {readonly string[]} */
    this.outputNames = session.outputNames;
  }

  #runtime;
  #session;

  /**
   * @param {Uint8Array | string} file bytes of an ONNX file, or in native code its path
   * @param {SessionOptions} options
   * @param {number} [suitable] how many threads to take if the options do not say; not with WebAssembly
   * @param {{path: string, data: Uint8Array}[]} [externalData] weights that the file takes from others, by their names
   * @returns {Promise<Session>}
   * @throws {ArtefactError} the graph is damaged, or needs a newer ONNX Runtime
   * @throws {InputError} there is no such backend, or it is not installed
   */
  static async create(file, { backend = DEFAULT, threads }, suitable, externalData) {
    if (!Object.hasOwn(BACKENDS, backend)) {
      throw new InputError(`backend is ${JSON.stringify(backend)}; expected "node" or "wasm".`);
    }
    if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
      throw new InputError(`threads is ${threads}; expected a whole number, 1 or more.`);
    }
    const { provider } = BACKENDS[backend];
    const runtime = await importRuntime(backend);
    /** @type {Record<string, any>} */
    const options = { executionProviders: [provider], ...QUIET };
    if (backend === "node")
      options.intraOpNumThreads = threads ?? suitable ?? 0; // 0: one per core
    else if (threads !== undefined) runtime.env.wasm.numThreads = threads;
    if (externalData) options.externalData = externalData;
    const create = () => runtime.InferenceSession.create(file, options);
    let session;
    try {
      session = await (backend === "wasm" ? oneByOne(create) : create());
    } catch (error) {
      const version = Object.values(runtime.env.versions).at(-1);
      if (/protobuf parsing failed/i.test(reason(error))) throw new ArtefactError(DAMAGED);
      throw new ArtefactError(
        `ONNX Runtime ${version} can't run it: ${reason(error)} ` +
          `The file is damaged, or made for a newer ONNX Runtime.`,
      );
    }
    return new Session(runtime, session);
  }

  /**
   * @param {Record<string, Tensor>} feeds by input name
   * @returns {Promise<Record<string, Tensor>>} by output name
   * @throws {InputError} the graph can't run on these arrays
   */
  async run(feeds) {
    const given = Object.entries(feeds).map(([name, tensor]) => [name, this.#toRuntime(tensor)]);
    let outputs;
    try {
      outputs = await this.#session.run(Object.fromEntries(given), QUIET);
    } catch (error) {
      const arrays = Object.entries(feeds).map(([name, { dtype, dims }]) => `${name} ${dtype} (${dims.join(", ")})`);
      throw new InputError(`The graph can't run on ${arrays.join(", ")}. ONNX Runtime says: ${reason(error)}`);
    }
    return Object.fromEntries(Object.entries(outputs).map(([name, output]) => [name, fromRuntime(output)]));
  }

  /** Frees the memory of the graph. */
  async release() {
    await this.#session.release();
  }

  /** @param {Tensor} tensor */
  #toRuntime({ dtype, data, dims }) {
    const half = dtype === "float16";
    const Float16Array = /** @type {any} */ (globalThis).Float16Array;
    const typed = half ? (Float16Array ? new Float16Array(data) : toHalves(data)) : data;
    return new this.#runtime.Tensor(dtype, typed, dims);
  }
}

/** @type {Promise<any>} */
let last = Promise.resolve();

/**
 * WebAssembly keeps the external data of all sessions that are being made in one place, by name, and empties it after
 * each: two models whose second files have the same name would get each other's weights, or none.
 *
 * @template T @param {() => Promise<T>} create @returns {Promise<T>}
 */
function oneByOne(create) {
  const made = last.then(create);
  last = made.catch(() => {});
  return made;
}

/** @param {any} output of ONNX Runtime */
function fromRuntime({ type, data, dims }) {
  const half = type === "float16";
  return new Tensor(
    type,
    half ? (data instanceof Uint16Array ? fromHalves(data) : Float32Array.from(data)) : data,
    dims,
  );
}

/** @param {"node" | "wasm"} backend */
async function importRuntime(backend) {
  const { package: name, import: load } = BACKENDS[backend];
  try {
    const runtime = await load();
    return runtime.InferenceSession ? runtime : runtime.default;
  } catch (error) {
    throw new InputError(
      `The backend "${backend}" needs the package ${name}, which can't be loaded (${reason(error)}) ` +
        `Install it with: npm install ${name}`,
    );
  }
}

/** What ONNX Runtime says, without the codes before it, as a sentence on one line. @param {any} error */
function reason(error) {
  const line = String(error?.message ?? error)
    .trim()
    .split("\n")[0];
  return `${line.replace(/^.*?ERROR_MESSAGE: /, "").replace(/\.+$/, "")}.`;
}
