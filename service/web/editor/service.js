// The service's endpoints, as this page uses them. Paths are relative to the page.

import { request } from "../problem.js";
import { WHOLE } from "./points.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {{points: number[], closed: boolean}} Stroke
 * @typedef {{name: string, low: number, high: number, points: Points, reading: Points}} Motion
 * @typedef {{
 *   name: string, count: number, features: Record<string, number[]>, flip: number[], strokes: Stroke[],
 *   openings: Record<string, {upper: number[], lower: number[]}>,
 *   eye_corners: [number, number, number, number], pupils: [number, number] | null, nose_tip: number, rigid: number[],
 *   depth: number[], motions: Motion[]
 * }} Scheme
 * @typedef {{id: string, display_name: string, reference: string}} TargetInShort
 * @typedef {{default: string | null, targets: TargetInShort[], damaged: {id: string, reason: string}[]}} Targets
 * @typedef {{
 *   target: string, display_name: string, scheme: string, crop: import("./points.js").CropRule, image_size: number,
 *   neutral: Points, shape: Points, presets: Record<string, Points>
 * }} Manifest
 * @typedef {{scheme: string, landmarks: Points, box: [number, number, number, number]}} Face
 * @typedef {import("./landmarks.js").State} State
 * @typedef {{target: string, scheme?: string, landmarks: unknown, convert: boolean, units: string, label?: string,
 *   view?: import("./points.js").Crop}} Order
 * @typedef {{picture: Blob, converted: Points | null}} Portrait
 */

const DIGITS = 5; // under a hundredth of a pixel

/** @returns {Promise<Targets>} */
export async function listTargets() {
  return (await request("targets")).json();
}

/**
 * @param {string} target
 * @returns {Promise<Manifest>}
 */
export async function getManifest(target) {
  const path = `targets/${encodeURIComponent(target)}`;
  const [manifest, presets] = await Promise.all([request(path), request(`${path}/presets`)]);
  return { ...(await manifest.json()), presets: await presets.json() };
}

/**
 * @param {string} name
 * @returns {Promise<Scheme>}
 */
export async function getScheme(name) {
  return (await request(`schemes/${encodeURIComponent(name)}`)).json();
}

/**
 * The faces of a picture, the largest first.
 * @param {File} picture
 * @returns {Promise<Face[]>}
 */
export async function findFaces(picture) {
  const form = new FormData();
  form.append("image", picture);
  return (await (await request("landmarks", { method: "POST", body: form })).json()).faces;
}

/**
 * A small picture of the target's face, to show what a button does.
 * @param {Order} order
 * @param {number} size pixels a side
 * @returns {Promise<Blob>}
 */
export async function synthesizeSmall(order, size) {
  return (await post({ ...order, size, format: "webp" })).blob();
}

/**
 * The body of /synthesize for edited landmarks: what is saved, sent and shown as a command.
 * @param {string} target
 * @param {string} scheme
 * @param {State} state
 * @returns {Order}
 */
export function makeOrder(target, scheme, { points, convert, view }) {
  const landmarks = points.map(([x, y]) => [round(x), round(y)]);
  const order = { target, scheme, units: "crop", convert, landmarks };
  const isWhole = view.x === WHOLE.x && view.y === WHOLE.y && view.side === WHOLE.side;
  return isWhole ? order : { ...order, view: { x: round(view.x), y: round(view.y), side: round(view.side) } };
}

/** @param {number} value */
function round(value) {
  return Number(value.toFixed(DIGITS));
}

/**
 * The target's face. `tell` asks for the converted landmarks besides.
 * @param {Order} order
 * @param {boolean} tell
 * @returns {Promise<Portrait>}
 */
export async function synthesize(order, tell) {
  const answer = await post({ ...order, response: tell ? "json" : "image" });
  if (!tell) return { picture: await answer.blob(), converted: null };
  const body = await answer.json();
  const bytes = Uint8Array.from(atob(body.picture.base64), (character) => character.charCodeAt(0));
  return { picture: new Blob([bytes], { type: "image/jpeg" }), converted: body.landmarks.crop_units };
}

/**
 * Landmarks of any scheme, scale and place as the target's own scheme and crop units.
 * @param {{target: string, scheme?: string, landmarks: unknown, units: string, view?: import("./points.js").Crop}} order
 * @returns {Promise<Points>}
 */
export async function placeLandmarks(order) {
  const answer = await post({ ...order, convert: false, response: "json" });
  return (await answer.json()).landmarks.crop_units;
}

/**
 * @param {object} body
 * @returns {Promise<Response>}
 */
function post(body) {
  return request("synthesize", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}
