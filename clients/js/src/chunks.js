/** `Chunks`: stateful inference on a sequence chunk by chunk, its states kept in between. */

import { InputError } from "./errors.js";
import { Tensor, bind, requireFinite, zeros } from "./tensors.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */
/** @typedef {(feeds: Record<string, Tensor>) => Promise<Record<string, Tensor>>} Run */

/** A sequence read chunk by chunk, made by `Model.chunks`: what the model has read so far, and the next chunk. */
export class Chunks {
  /**
   * @param {Manifest} manifest
   * @param {Run} run
   * @param {boolean} [allowNaN]
   */
  constructor(manifest, run, allowNaN = false) {
    const carried = manifest.states.map((state) => state.input);
    this.#manifest = manifest;
    this.#run = run;
    this.#allowNaN = allowNaN;
    this.#inputs = manifest.inputs.filter((spec) => !carried.includes(spec.name));
    /**
     * By input name, (batch, ...) each; empty before the first chunk. Keep them to go back, by assigning them.
     *
     * @type {Record<string, Tensor>}
     */
    this.states = {};
  }

  #manifest;
  #run;
  #allowNaN;
  #inputs;
  /** @type {Promise<any>} */
  #last = Promise.resolve(); // the chunk before

  /**
   * The next chunk, of any number of steps.
   *
   * @param {Record<string, any>} named as `Model.predict` takes them, without the states
   * @returns {Promise<Record<string, Tensor>>} the outputs for these steps
   * @throws {InputError} a name, type, rank or size does not fit; there are more or fewer rows than before
   */
  async predict(named) {
    const feeds = bind(this.#inputs, named);
    if (!this.#allowNaN) requireFinite(this.#inputs, feeds);
    const outputs = this.#last.then(() => this.#read(feeds));
    this.#last = outputs.catch(() => {});
    return outputs;
  }

  /** @param {Record<string, Tensor>} feeds */
  async #read(feeds) {
    const [rows] = Object.values(feeds)[0].dims;
    const known = Object.values(this.states)[0]?.dims[0];
    if (known !== undefined && rows !== known) {
      throw new InputError(`The chunk has ${rows} rows, and the stream ${known}; call reset() to begin anew.`);
    }
    const states = known === undefined ? firstStates(this.#manifest, rows) : this.states;
    const outputs = await this.#run({ ...feeds, ...states });
    this.states = takeStates(this.#manifest, outputs);
    return outputs;
  }

  /** Forgets what was read: the next chunk begins a sequence. */
  reset() {
    this.states = {};
  }
}

/**
 * The states at the beginning of `batch` sequences, by input name; axes that are free have size 0.
 *
 * @param {Manifest} manifest
 * @param {number} batch
 * @returns {Record<string, Tensor>}
 */
export function firstStates({ states, inputs }, batch) {
  return Object.fromEntries(
    states.map(({ input, initial }) => {
      const spec = /** @type {import("./manifest.js").TensorSpec} */ (inputs.find(({ name }) => name === input));
      const dims = spec.shape.map((size) => (typeof size === "number" ? size : size === "batch" ? batch : 0));
      const state = zeros(spec.dtype, dims);
      const values = [initial].flat(Infinity); // one for all, or one row of the batch
      const element = typeof state.data[0] === "bigint" ? BigInt : Number;
      for (let i = 0; i < state.data.length; i++) state.data[i] = element(values[i % values.length]);
      return [input, state];
    }),
  );
}

/**
 * Takes the new states out of the outputs of a graph.
 *
 * @param {Manifest} manifest
 * @param {Record<string, Tensor>} outputs by output name; the states are removed
 * @returns {Record<string, Tensor>} by input name
 */
export function takeStates({ states }, outputs) {
  /** @type {Record<string, Tensor>} */
  const taken = {};
  for (const { input, output } of states) {
    taken[input] = outputs[output];
    delete outputs[output];
  }
  return taken;
}
