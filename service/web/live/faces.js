// A choice where the picture shows more faces than one: which of them drives.

import { request } from "../problem.js";

/**
 * The faces of a picture, the largest first, as /landmarks finds them. Throws an Error in words.
 * @param {ArrayBuffer} picture JPEG
 * @returns {Promise<{box: [number, number, number, number]}[]>}
 */
export async function findFaces(picture) {
  const form = new FormData();
  form.append("image", new Blob([picture], { type: "image/jpeg" }), "frame.jpg");
  return (await (await request("landmarks", { method: "POST", body: form })).json()).faces;
}

/**
 * Offer the faces from left to right, as they are seen. An option's value is the face's number by size.
 * @param {HTMLSelectElement} list
 * @param {{box: [number, number, number, number]}[]} faces the largest first
 * @param {boolean} mirrored
 */
export function offerFaces(list, faces, mirrored) {
  const places = faces.map(({ box: [left, , right] }, index) => ({ index, x: (mirrored ? -1 : 1) * (left + right) }));
  places.sort((one, other) => one.x - other.x);
  const words = faces.length === 2 ? ["Left", "Right"] : places.map((_, row) => `${row + 1} from the left`);
  list.replaceChildren(...places.map(({ index }, row) => new Option(words[row], String(index))));
  list.value = "0";
}
