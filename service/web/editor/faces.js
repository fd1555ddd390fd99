// The target's presets as buttons that show the face they give: each does one thing, on the neutral face.

import { make, spell } from "./dom.js";
import { listMovements } from "./movements.js";
import { WHOLE } from "./points.js";
import { makeOrder, synthesizeSmall } from "./service.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 */

const SIZE = 136; // pixels a side, of a button's face on a screen of two pixels a point

// The presets that are turns of the head, which their names tell as the person would: here they are called as they look,
// and as the sliders say. In every other one the head is as in the neutral face.
/** @type {Record<string, {axis: "yaw" | "pitch" | "roll", label: string}>} */
const TURNS = {
  look_left: { axis: "yaw", label: "Turn right" },
  look_right: { axis: "yaw", label: "Turn left" },
  look_up: { axis: "pitch", label: "Nod up" },
  look_down: { axis: "pitch", label: "Nod down" },
  tilt_left: { axis: "roll", label: "Tilt right" },
  tilt_right: { axis: "roll", label: "Tilt left" },
};

// What a preset does, and nothing else: in the frame that it is, much else moved a little.
const EYES = ["right_eye_open", "left_eye_open"];
const MOUTH = ["mouth_open", "smile", "pout"];
/** @type {Record<string, string[]>} */
const OWN = {
  smile: [...MOUTH, ...EYES], // a smile narrows the eyes
  open_mouth: MOUTH,
  pout: MOUTH,
  brows_up: ["brows_up"],
  brows_down: ["brows_up"],
  eyes_closed: EYES,
  wink_left: EYES,
  wink_right: EYES,
};

/**
 * Name -> the neutral face doing that and nothing else, the neutral face first.
 * @param {Landmarks} landmarks
 * @returns {[string, Points][]}
 */
export function listFaces(landmarks) {
  const { neutral, presets } = landmarks.manifest;
  const movements = listMovements(landmarks).filter(({ group }) => group !== "head");
  const others = Object.entries(presets).filter(([name]) => name !== "neutral");
  return [
    ["neutral", neutral],
    ...others.map(([name, points]) => {
      return /** @type {[string, Points]} */ ([name, purify(landmarks, movements, name, points)]);
    }),
  ];
}

/**
 * A preset's frame without what is not its own. A mouth's shape is the frame's; brows and lids are moved as sliders do.
 * @param {Landmarks} landmarks
 * @param {import("./movements.js").Movement[]} movements
 * @param {string} name
 * @param {Points} points
 * @returns {Points}
 */
function purify({ face, manifest }, movements, name, points) {
  const values = face.read(points);
  if (TURNS[name]) return face.turn(manifest.neutral, { [TURNS[name].axis]: values.turn[TURNS[name].axis] });
  const level = face.turn(points, { yaw: 0, pitch: 0, roll: 0 });
  const own = OWN[name];
  if (!own) return level;
  const framed = own.includes("mouth_open");
  return movements.reduce((at, movement) => {
    if (own.includes(movement.name) === framed) return at;
    const value = framed ? 0 : Math.min(movement.high, Math.max(movement.low, movement.read(values)));
    return movement.apply(at, value);
  }, framed ? level : manifest.neutral);
}

/**
 * Buttons with faces, which appear one after the other.
 * @param {Landmarks} landmarks
 * @param {(points: Points) => void} choose
 * @param {() => boolean} isWanted false ends it
 * @returns {HTMLButtonElement[]}
 */
export function makeFaceButtons(landmarks, choose, isWanted) {
  const faces = listFaces(landmarks);
  const pictures = faces.map(() => make("img", { alt: "", width: "68", height: "68" }));
  void paintFaces(landmarks, faces, pictures, isWanted);
  return faces.map(([name, points], index) => {
    const button = make("button", { type: "button", class: "preset", "data-preset": name });
    button.append(pictures[index], TURNS[name]?.label ?? spell(name));
    button.addEventListener("click", () => choose(points));
    return button;
  });
}

/**
 * @param {Landmarks} landmarks
 * @param {[string, Points][]} faces
 * @param {HTMLImageElement[]} pictures
 * @param {() => boolean} isWanted
 */
async function paintFaces({ manifest, scheme }, faces, pictures, isWanted) {
  for (const [index, [, points]] of faces.entries()) {
    if (!isWanted()) return;
    try {
      showPicture(pictures[index], await synthesizeSmall(makeOrder(manifest.target, scheme.name, { points, convert: false, view: WHOLE }), SIZE));
    } catch {
      return; // the face itself, which is asked for too, tells what is wrong
    }
  }
}

/**
 * @param {HTMLImageElement} image
 * @param {Blob} picture
 */
export function showPicture(image, picture) {
  const url = URL.createObjectURL(picture);
  image.onload = () => URL.revokeObjectURL(url);
  image.src = url;
}
