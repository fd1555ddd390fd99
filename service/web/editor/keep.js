// An edit as a short text: in a link, and between two visits in the browser's storage, where a film's faces are too.

import { limitView } from "./points.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").State} State
 * @typedef {State & {target: string, scheme: string}} Kept
 */

const KEY = "landmarkgan.edit";
const FILM_KEY = "landmarkgan.film";
const FINENESS = 8192; // steps a crop side: a thirtieth of a pixel of 256
const LIMIT = 32767;

/**
 * @param {Kept} edit
 * @returns {string} letters that a URL's fragment takes as they are
 */
export function pack({ target, scheme, convert, points, view: { x, y, side } }) {
  return `edit=${target}.${scheme}.${convert ? "other" : "own"}.${encode(points.flat())}.${encode([x, y, side])}`;
}

/** @param {number[]} values */
function encode(values) {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  values.forEach((value, index) => {
    view.setInt16(index * 2, Math.max(-LIMIT, Math.min(LIMIT, Math.round(value * FINENESS))));
  });
  const bytes = String.fromCharCode(...new Uint8Array(view.buffer));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * The inverse of `encode`.
 * @param {string} packed
 * @returns {number[]} none for any other text
 */
function decode(packed) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  } catch {
    return [];
  }
  const view = new DataView(bytes.buffer);
  return Array.from({ length: Math.floor(bytes.length / 2) }, (_, index) => view.getInt16(index * 2) / FINENESS);
}

/**
 * The inverse of `pack`.
 * @param {string} text
 * @returns {Kept | null} null for any other text
 */
export function unpack(text) {
  const match = /^edit=([\w-]+)\.([\w-]+)\.(own|other)\.([\w-]+)\.([\w-]+)$/.exec(text);
  if (!match) return null;
  const [, target, scheme, shape, packed, seen] = match;
  const values = decode(packed);
  const points = Array.from({ length: Math.floor(values.length / 2) }, (_, index) => {
    return /** @type {const} */ ([values[2 * index], values[2 * index + 1]]);
  });
  const [x, y, side] = decode(seen);
  if (side === undefined) return null;
  return { target, scheme, convert: shape === "other", points, view: limitView({ x, y, side }) };
}

/**
 * The edit to begin with: the link's, else what was left here last.
 * @returns {Kept | null}
 */
export function recall() {
  const linked = unpack(location.hash.slice(1));
  if (linked) {
    history.replaceState(null, "", location.pathname + location.search); // it is edited from here on
    return linked;
  }
  return unpack(read(KEY));
}

/** @param {Kept} edit */
export function keep(edit) {
  write(KEY, pack(edit));
}

/**
 * The film's faces that were left here last.
 * @returns {(Kept & {seconds: number})[]}
 */
export function recallFilm() {
  return read(FILM_KEY)
    .split("\n")
    .flatMap((line) => {
      const [seconds, text] = line.split(" ");
      const edit = unpack(text ?? "");
      return edit ? [{ ...edit, seconds: Number(seconds) || 0 }] : [];
    });
}

/** @param {(Kept & {seconds: number})[]} faces */
export function keepFilm(faces) {
  write(FILM_KEY, faces.map((face) => `${face.seconds} ${pack(face)}`).join("\n"));
}

/** @param {string} key */
function read(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return ""; // storage is switched off
  }
}

/**
 * @param {string} key
 * @param {string} text
 */
function write(key, text) {
  try {
    localStorage.setItem(key, text);
  } catch {
    // it lasts as long as the page
  }
}
