// An edit as a short text: in a link, and between two visits in the browser's storage, where a film's faces are too.

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {{target: string, scheme: string, convert: boolean, points: Points}} Kept
 */

const KEY = "landmarkgan.edit";
const FILM_KEY = "landmarkgan.film";
const FINENESS = 8192; // steps a crop side: a thirtieth of a pixel of 256
const LIMIT = 32767;

/**
 * @param {Kept} edit
 * @returns {string} letters that a URL's fragment takes as they are
 */
export function pack({ target, scheme, convert, points }) {
  const view = new DataView(new ArrayBuffer(points.length * 4));
  points.flat().forEach((value, index) => {
    view.setInt16(index * 2, Math.max(-LIMIT, Math.min(LIMIT, Math.round(value * FINENESS))));
  });
  const bytes = String.fromCharCode(...new Uint8Array(view.buffer));
  const packed = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `edit=${target}.${scheme}.${convert ? "other" : "own"}.${packed}`;
}

/**
 * The inverse of `pack`.
 * @param {string} text
 * @returns {Kept | null} null for any other text
 */
export function unpack(text) {
  const [, target, scheme, shape, packed] = /^edit=([\w-]+)\.([\w-]+)\.(own|other)\.([\w-]+)$/.exec(text) ?? [];
  if (!packed) return null;
  let bytes;
  try {
    bytes = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
  const view = new DataView(bytes.buffer);
  const points = Array.from({ length: Math.floor(bytes.length / 4) }, (_, index) => {
    return /** @type {const} */ ([view.getInt16(index * 4) / FINENESS, view.getInt16(index * 4 + 2) / FINENESS]);
  });
  return { target, scheme, convert: shape === "other", points };
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
