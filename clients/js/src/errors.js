/** Base of every error that this package throws on purpose: what arrived, what was expected, what to do. */
export class TfseqError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

/** A file that is not a tfseq artefact: missing, corrupted, truncated, or without a manifest. */
export class ArtefactError extends TfseqError {}

/** Arguments that an artefact can't take: wrong name, type, rank or range. */
export class InputError extends TfseqError {}
