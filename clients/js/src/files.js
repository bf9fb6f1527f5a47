/** Reads files: by path in Node, by address anywhere, and those that lie beside another. */

import { ArtefactError } from "./errors.js";

export const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);
/** By a variable, so that bundlers for browsers do not look for what only Node has. @param {string} name */
export const importInNode = (name) => import(/* @vite-ignore */ /* webpackIgnore: true */ name);

/** Whether it is a path of Node's, not an address. @param {string | URL} file */
export function isPath(file) {
  const local = typeof file === "string" ? !/^[a-z][a-z0-9+.-]+:\/\//i.test(file) : file.protocol === "file:";
  return local && inNode;
}

/** @param {string | URL} file @returns {Promise<Uint8Array>} @throws {ArtefactError} it can't be read */
export async function readBytes(file) {
  if (isPath(file)) {
    const { readFile } = await importInNode("node:fs/promises");
    try {
      return new Uint8Array(await readFile(file));
    } catch (error) {
      throw unreadable(file, error);
    }
  }
  let response;
  try {
    response = await fetch(file);
  } catch (error) {
    throw new ArtefactError(`Can't read ${file}: ${/** @type {Error} */ (error).message}.`);
  }
  if (!response.ok) throw new ArtefactError(`Can't read ${file}: status ${response.status} ${response.statusText}.`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {string | URL} file a path in Node @returns {Promise<number>} in bytes @throws {ArtefactError} it is no file */
export async function sizeOf(file) {
  const { access, constants, stat } = await importInNode("node:fs/promises");
  try {
    await access(file, constants.R_OK);
    const found = await stat(file);
    if (!found.isFile()) throw { code: "EISDIR" };
    return found.size;
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** A file as a path, for code that takes no address. @param {string | URL} file @returns {Promise<string>} */
export async function asPath(file) {
  return typeof file === "string" ? file : (await importInNode("node:url")).fileURLToPath(file);
}

/**
 * Where a file of another name lies in the same folder; an address keeps what follows its question mark.
 *
 * @param {string | URL} file
 * @param {string} name without a folder
 * @returns {Promise<string | URL>}
 */
export async function beside(file, name) {
  if (isPath(file)) {
    const { dirname, join } = await importInNode("node:path");
    return join(dirname(await asPath(file)), name);
  }
  const address = new URL(file, globalThis.location?.href);
  address.pathname = address.pathname.replace(/[^/]*$/, encodeURIComponent(name));
  return address;
}

/** @param {string | URL} file @param {any} error of Node @returns {ArtefactError} */
function unreadable(file, { code, message }) {
  const reasons = { ENOENT: "no such file", EISDIR: "it is a folder; expected an .onnx file" };
  return new ArtefactError(`Can't read ${file}: ${reasons[code] ?? message}.`);
}
