// A target's face as an editor takes it: how its head is turned, what its features do, and the way back to points.
// A head is taken for a rigid body with the scheme's depth, seen from afar (scaled orthographic projection); what the
// features do is read in the frame of the upright face that looks into the camera, with the scheme's own readings.

import { findCrop, fitCrop } from "./points.js";
import { fitPose, project, straighten } from "./pose.js";

/**
 * @typedef {import("./points.js").Point} Point
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./pose.js").Pose} Pose
 * @typedef {{yaw: number, pitch: number, roll: number}} Turn radians from the target's neutral face; positive to the
 *   picture's right, down, clockwise
 */

export class Face {
  /**
   * @param {import("./service.js").Scheme} scheme
   * @param {import("./service.js").Manifest} manifest
   */
  constructor(scheme, manifest) {
    this.scheme = scheme;
    this.rule = manifest.crop;
    this.neutral = manifest.neutral;
    // The neutral shape looks into the camera: it tells how the head of the neutral picture is turned. That picture is
    // the zero of every reading, and its own points, straightened, are the head that other points are compared with.
    const centred = centre(manifest.shape, scheme);
    this.rest = this.#fit(manifest.neutral, centred);
    this.flat = straighten(manifest.neutral, this.rest, scheme.depth);
  }

  /**
   * How the head is turned, and how far each motion has gone, in the scheme's order.
   * @param {Points} points
   * @returns {{turn: Turn, motions: number[]}}
   */
  read(points) {
    const pose = this.#fit(points);
    const flat = straighten(points, pose, this.scheme.depth);
    const { yaw, pitch, roll } = this.rest;
    return {
      turn: { yaw: pose.yaw - yaw, pitch: pose.pitch - pitch, roll: pose.roll - roll },
      motions: this.scheme.motions.map((motion) => this.#read(flat, motion)),
    };
  }

  /**
   * The same face, its head turned. Where it is and how large stay: the crop the points give themselves is the same.
   * @param {Points} points
   * @param {Partial<Turn>} change
   * @returns {Points}
   */
  turn(points, change) {
    const pose = this.#fit(points);
    const flat = straighten(points, pose, this.scheme.depth);
    const turned = { ...pose };
    for (const name of /** @type {const} */ (["yaw", "pitch", "roll"])) {
      turned[name] = change[name] === undefined ? pose[name] : change[name] + this.rest[name];
    }
    return fitCrop(project(flat, turned, this.scheme.depth), this.rule, findCrop(points, this.rule));
  }

  /**
   * The same face, one motion gone as far as `value`; points that it does not move stay to the bit.
   * @param {Points} points
   * @param {number} which
   * @param {number} value
   * @returns {Points}
   */
  move(points, which, value) {
    const pose = this.#fit(points);
    const flat = straighten(points, pose, this.scheme.depth);
    const motion = this.scheme.motions[which];
    const change = value - this.#read(flat, motion);
    /** @type {Points} */
    const moved = flat.map(([x, y], index) => [
      x + change * motion.points[index][0],
      y + change * motion.points[index][1],
    ]);
    const projected = project(moved, pose, this.scheme.depth);
    return points.map((point, index) => (motion.points[index].some(Boolean) ? projected[index] : point));
  }

  /**
   * The same edit on another target's face: its pose, and what each point does, on this one's neutral points. A point
   * that the other has not is where it is in the neutral face.
   * @param {Points} points
   * @param {Face} other
   * @returns {Points}
   */
  take(points, other) {
    const pose = other.#fit(points);
    const flat = straighten(points, pose, other.scheme.depth);
    /** @type {Points} */
    const moved = this.flat.map(([x, y], index) => {
      if (index >= flat.length) return [x, y];
      return [x + flat[index][0] - other.flat[index][0], y + flat[index][1] - other.flat[index][1]];
    });
    const turned = {
      ...this.rest,
      yaw: this.rest.yaw + pose.yaw - other.rest.yaw,
      pitch: this.rest.pitch + pose.pitch - other.rest.pitch,
      roll: this.rest.roll + pose.roll - other.rest.roll,
    };
    const crop = findCrop(points, other.rule);
    const [from, to] = [findCrop(other.neutral, other.rule), findCrop(this.neutral, this.rule)];
    return fitCrop(project(moved, turned, this.scheme.depth), this.rule, {
      x: to.x + crop.x - from.x,
      y: to.y + crop.y - from.y,
      side: (to.side * crop.side) / from.side,
    });
  }

  /**
   * @param {Points} points
   * @param {Points} [head] the upright face to compare with
   */
  #fit(points, head = this.flat) {
    return fitPose(points, head, this.scheme.depth, this.scheme.rigid);
  }

  /**
   * @param {Points} flat
   * @param {import("./service.js").Motion} motion
   */
  #read(flat, { reading }) {
    return flat.reduce((sum, [x, y], index) => {
      const [across, down] = reading[index];
      return sum + across * (x - this.flat[index][0]) + down * (y - this.flat[index][1]);
    }, 0);
  }
}

/**
 * Points in distances between the eyes' centres, about their middle.
 * @param {Points} points
 * @param {import("./service.js").Scheme} scheme
 * @returns {Points}
 */
function centre(points, scheme) {
  const [a, b, c, d] = scheme.eye_corners.map((index) => points[index]);
  const right = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const left = [(c[0] + d[0]) / 2, (c[1] + d[1]) / 2];
  const length = Math.hypot(left[0] - right[0], left[1] - right[1]);
  return points.map(([x, y]) => [(x - (left[0] + right[0]) / 2) / length, (y - (left[1] + right[1]) / 2) / length]);
}
