// What a pointer does to the landmarks, from where it went down to where it is: each gesture begins with the points as
// they were and gives the points as they become, so that nothing adds up and the way back is exact.

import { findBounds, isInside, moveWeighted, turnAbout } from "./points.js";

/**
 * @typedef {import("./points.js").Point} Point
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {{move: (to: Point) => Points | null}} Gesture null: nothing to show
 */

/**
 * Points dragged along.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function drag({ points, weights }, from) {
  return {
    move: (to) => moveWeighted(points, weights, ([x, y]) => [x + to[0] - from[0], y + to[1] - from[1]]),
  };
}

/**
 * Points turned about the middle of the chosen ones.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function turn({ points, weights, chosen }, from) {
  const centre = findCentre(points, chosen);
  const start = Math.atan2(from[1] - centre[1], from[0] - centre[0]);
  return {
    move: (to) => {
      const angle = Math.atan2(to[1] - centre[1], to[0] - centre[0]) - start;
      return moveWeighted(points, weights, turnAbout(centre, angle, 1));
    },
  };
}

/**
 * Points made larger or smaller about the middle of the chosen ones.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function resize({ points, weights, chosen }, from) {
  const centre = findCentre(points, chosen);
  const start = Math.max(1e-3, Math.hypot(from[0] - centre[0], from[1] - centre[1]));
  return {
    move: (to) => {
      const scale = Math.max(0.05, Math.hypot(to[0] - centre[0], to[1] - centre[1]) / start);
      return moveWeighted(points, weights, turnAbout(centre, 0, scale));
    },
  };
}

/**
 * A line drawn around points; `draw` shows it, and those inside become the chosen ones.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @param {(line: Points) => void} draw
 * @returns {Gesture}
 */
export function lasso(landmarks, from, draw) {
  const line = [from];
  return {
    move: (to) => {
      line.push(to);
      draw(line);
      landmarks.choose(landmarks.points.flatMap((point, index) => (isInside(point, line) ? [index] : [])));
      return null;
    },
  };
}

/**
 * The middle of the chosen points' box.
 * @param {Points} points
 * @param {Iterable<number>} chosen
 * @returns {Point}
 */
export function findCentre(points, chosen) {
  const [left, top, right, bottom] = findBounds(points, chosen);
  return [(left + right) / 2, (top + bottom) / 2];
}
