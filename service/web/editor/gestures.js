// What a pointer does to the landmarks, from where it went down to where it is: each gesture begins with the points as
// they were and gives the points as they become, so that nothing adds up and the way back is exact. The whole face stays
// where it is in its crop, and the view of the crop moves.

import { enlarge, findBounds, isInside, limitView, moveWeighted, turnAbout } from "./points.js";

/**
 * @typedef {import("./points.js").Point} Point
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 * @typedef {import("./points.js").Crop} Crop
 * @typedef {{points?: Points, view?: Crop}} Change nothing: nothing to show
 * @typedef {{move: (to: Point) => Change}} Gesture places are in crop units, through the view there is at that moment
 */

/**
 * Points dragged along.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function drag(landmarks, from) {
  if (landmarks.isWhole) {
    return {
      move: ([x, y]) => {
        const { view } = landmarks;
        return { view: limitView({ ...view, x: view.x - (x - from[0]), y: view.y - (y - from[1]) }) };
      },
    };
  }
  const { points, weights } = landmarks;
  return {
    move: (to) => ({ points: moveWeighted(points, weights, ([x, y]) => [x + to[0] - from[0], y + to[1] - from[1]]) }),
  };
}

/**
 * Points turned about the middle of the chosen ones.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function turn(landmarks, from) {
  const { points, weights, chosen } = landmarks;
  const centre = findCentre(points, chosen);
  const start = Math.atan2(from[1] - centre[1], from[0] - centre[0]);
  return {
    move: (to) => {
      const angle = Math.atan2(to[1] - centre[1], to[0] - centre[0]) - start;
      return { points: landmarks.hold(moveWeighted(points, weights, turnAbout(centre, angle, 1))) };
    },
  };
}

/**
 * Points made larger or smaller about the middle of the chosen ones.
 * @param {Landmarks} landmarks
 * @param {Point} from
 * @returns {Gesture}
 */
export function resize(landmarks, from) {
  const { points, weights, chosen, view } = landmarks;
  const centre = findCentre(points, chosen);
  const start = Math.max(1e-3, Math.hypot(from[0] - centre[0], from[1] - centre[1]));
  return {
    move: (to) => {
      const scale = Math.max(0.05, Math.hypot(to[0] - centre[0], to[1] - centre[1]) / start);
      // Through a view that grows with the gesture: its own part of the scale is taken out.
      if (landmarks.isWhole) return { view: enlarge(view, centre, (scale * view.side) / landmarks.view.side) };
      return { points: moveWeighted(points, weights, turnAbout(centre, 0, scale)) };
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
      return {};
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
