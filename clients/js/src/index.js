/** Runs files that `tfseq.export` wrote, in Node and in browsers. */

export { ArtefactError, InputError, TfseqError } from "./errors.js";
export { Model, load } from "./model.js";
export { Chunks } from "./chunks.js";
export { Tensor } from "./tensors.js";
export { TextStream } from "./text_stream.js";
