// The target's presets as buttons that show the face they give: each does one thing, on the neutral face.

import { make, spell } from "./dom.js";
import { WHOLE } from "./points.js";
import { makeOrder, synthesizeSmall } from "./service.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 */

const SIZE = 136; // pixels a side, of a button's face on a screen of two pixels a point

// The presets that are turns of the head; in every other one the head is as in the neutral face.
/** @type {Record<string, "yaw" | "pitch" | "roll">} */
const TURNS = {
  look_left: "yaw",
  look_right: "yaw",
  look_up: "pitch",
  look_down: "pitch",
  tilt_left: "roll",
  tilt_right: "roll",
};

/**
 * Name -> the neutral face doing that and nothing else, the neutral face first.
 * @param {Landmarks} landmarks
 * @returns {[string, Points][]}
 */
export function listFaces({ face, manifest }) {
  const { neutral, presets } = manifest;
  const others = Object.entries(presets).filter(([name]) => name !== "neutral");
  return [
    ["neutral", neutral],
    ...others.map(([name, points]) => {
      const turn = TURNS[name];
      const done = turn
        ? face.turn(neutral, { [turn]: face.read(points).turn[turn] })
        : face.turn(points, { yaw: 0, pitch: 0, roll: 0 });
      return /** @type {[string, Points]} */ ([name, done]);
    }),
  ];
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
    button.append(pictures[index], spell(name));
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
