// What sliders and the gaze pad move: each one thing, as far as the target was seen to go, 0 on its neutral face.

import { findMean } from "./points.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {"head" | "eyes" | "mouth"} Group
 * @typedef {{
 *   name: string, label: string, group: Group, low: number, high: number,
 *   read: (values: Values) => number, apply: (points: Points, value: number) => Points, say: (value: number) => string
 * }} Movement
 * @typedef {ReturnType<import("./face.js").Face["read"]>} Values
 */

const DEGREE = Math.PI / 180;
const BEYOND = 1.25; // of what the presets show, which are frames near the extremes and not at them

// Degrees either way: what every head does at least, and what no slider goes beyond.
const TURNS = /** @type {const} */ ({
  yaw: { label: "Turn", least: 10, most: 35, ways: ["left", "right"] },
  pitch: { label: "Nod", least: 8, most: 25, ways: ["up", "down"] },
  roll: { label: "Tilt", least: 15, most: 25, ways: ["left", "right"] },
});

// Words for the scheme's motions: what is said of the low end and of the high one.
/** @type {Record<string, {label: string, group: Group, ways: readonly [string, string]}>} */
const WORDS = {
  mouth_open: { label: "Mouth", group: "mouth", ways: ["shut", "open"] },
  smile: { label: "Lip corners", group: "mouth", ways: ["down", "up"] },
  pout: { label: "Lips", group: "mouth", ways: ["wide", "pursed"] },
  brows_up: { label: "Brows", group: "eyes", ways: ["lowered", "raised"] },
  right_eye_open: { label: "Right eye", group: "eyes", ways: ["closed", "wide"] },
  left_eye_open: { label: "Left eye", group: "eyes", ways: ["closed", "wide"] },
  gaze_across: { label: "Look across", group: "eyes", ways: ["left", "right"] },
  gaze_down: { label: "Look up or down", group: "eyes", ways: ["up", "down"] },
};
const LEAST = 0.4; // of a motion's own range, which is what people do: so far every target goes

/**
 * The movements of a target.
 * @param {Landmarks} landmarks
 * @returns {Movement[]}
 */
export function listMovements({ face, scheme, manifest }) {
  const seen = Object.values(manifest.presets).map((points) => face.read(points));
  const turns = /** @type {(keyof typeof TURNS)[]} */ (Object.keys(TURNS)).map((name) => {
    const { label, least, most, ways } = TURNS[name];
    const degrees = seen.map(({ turn }) => turn[name] / DEGREE);
    return {
      name,
      label,
      group: /** @type {Group} */ ("head"),
      low: Math.max(-most, Math.min(-least, BEYOND * Math.min(...degrees))),
      high: Math.min(most, Math.max(least, BEYOND * Math.max(...degrees))),
      read: /** @type {Movement["read"]} */ (({ turn }) => turn[name] / DEGREE),
      apply: /** @type {Movement["apply"]} */ ((points, value) => face.turn(points, { [name]: value * DEGREE })),
      say: /** @type {Movement["say"]} */ ((value) => saySide(Math.round(Math.abs(value)), "°", value < 0 ? ways[0] : ways[1])),
    };
  });
  const motions = scheme.motions.map((motion, index) => {
    const { label, group, ways } = WORDS[motion.name] ?? { label: motion.name, group: "mouth", ways: ["less", "more"] };
    const values = seen.map(({ motions }) => BEYOND * motions[index]);
    const shut = -findGap(face, motion.name.replace("_open", ""));
    const low = Math.max(motion.low, shut, Math.min(LEAST * motion.low, ...values));
    const high = Math.min(motion.high, Math.max(LEAST * motion.high, ...values));
    return {
      name: motion.name,
      label,
      group,
      low,
      high,
      read: /** @type {Movement["read"]} */ (({ motions }) => motions[index]),
      apply: /** @type {Movement["apply"]} */ ((points, value) => face.move(points, index, value)),
      say: /** @type {Movement["say"]} */ (
        (value) => saySide(Math.round((value / (value < 0 ? low : high)) * 100), " %", value < 0 ? ways[0] : ways[1])
      ),
    };
  });
  return [...turns, ...motions];
}

/**
 * How far lips or lids are apart on the neutral face: so far they can close.
 * @param {import("./face.js").Face} face
 * @param {string} opening
 * @returns {number} Infinity for what does not open
 */
function findGap({ scheme, flat }, opening) {
  const rows = scheme.openings[opening];
  return rows ? findMean(flat, rows.lower)[1] - findMean(flat, rows.upper)[1] : Infinity;
}

/**
 * @param {number} amount
 * @param {string} unit
 * @param {string} way
 */
function saySide(amount, unit, way) {
  return amount === 0 ? `0${unit}` : `${amount}${unit} ${way}`;
}
