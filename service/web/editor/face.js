// A target's face as an editor takes it: how far a head is turned, what its features do, and the way back to points.
// A head is taken for a rigid body with the scheme's depth, seen from afar (weak perspective); what the features do is
// read in the frame of the upright face that looks into the camera, as a sum of the scheme's motions.

import { findCrop, findMean, fitCrop } from "./points.js";

/**
 * @typedef {import("./points.js").Point} Point
 * @typedef {import("./points.js").Points} Points
 * @typedef {{yaw: number, pitch: number, roll: number}} Pose radians; positive to the picture's right, down, clockwise
 * @typedef {{across: number, down: number, length: number, roll: number, origin: Point}} Frame
 */

const STEEPEST = Math.PI / 3; // beyond it the landmarks of one side hide the other's, and flat points tell no depth
const ROUNDS = 30;

export class Face {
  /**
   * @param {import("./service.js").Scheme} scheme
   * @param {import("./service.js").Manifest} manifest
   */
  constructor(scheme, manifest) {
    this.scheme = scheme;
    this.rule = manifest.crop;
    const corners = findMeanDepth(scheme.depth, scheme.eye_corners);
    this.depth = scheme.depth.map((each) => each - corners);
    this.nose = this.depth[scheme.nose_tip];
    // The neutral shape looks into the camera: it is the zero of every reading.
    const frame = this.#findFrame(manifest.shape);
    this.ahead = { across: frame.across, down: frame.down };
    this.shape = this.#straighten(manifest.shape, { yaw: 0, pitch: 0, roll: frame.roll }, frame);
    this.solver = invertMotions(scheme.motions.map((motion) => motion.points.flat()));
  }

  /**
   * How the head is turned.
   * @param {Points} points
   * @returns {Pose}
   */
  readPose(points) {
    return this.#solvePose(this.#findFrame(points));
  }

  /**
   * How far each motion has gone, in the scheme's order.
   * @param {Points} points
   * @returns {number[]}
   */
  readMotions(points) {
    const frame = this.#findFrame(points);
    return this.#fitMotions(this.#straighten(points, this.#solvePose(frame), frame));
  }

  /**
   * The same face, its head turned. Where it is and how large stay: the crop the points give themselves is the same.
   * @param {Points} points
   * @param {Partial<Pose>} change
   * @returns {Points}
   */
  turn(points, change) {
    const frame = this.#findFrame(points);
    const pose = this.#solvePose(frame);
    const flat = this.#straighten(points, pose, frame);
    const unit = frame.length / Math.cos(pose.yaw);
    const turned = this.#project(flat, { ...pose, ...change }, unit, frame.origin);
    return fitCrop(turned, this.rule, findCrop(points, this.rule));
  }

  /**
   * The same face, one motion gone as far as `value`; points that it does not move stay to the bit.
   * @param {Points} points
   * @param {number} which
   * @param {number} value
   * @returns {Points}
   */
  move(points, which, value) {
    const frame = this.#findFrame(points);
    const pose = this.#solvePose(frame);
    const flat = this.#straighten(points, pose, frame);
    const change = value - this.#fitMotions(flat)[which];
    const motion = this.scheme.motions[which].points;
    /** @type {Points} */
    const moved = flat.map(([x, y], index) => [x + change * motion[index][0], y + change * motion[index][1]]);
    const projected = this.#project(moved, pose, frame.length / Math.cos(pose.yaw), frame.origin);
    return points.map((point, index) => (motion[index][0] || motion[index][1] ? projected[index] : point));
  }

  /**
   * The line of the eyes, and where the nose's tip lies in it, in its lengths.
   * @param {Points} points
   * @returns {Frame}
   */
  #findFrame(points) {
    const [outerRight, innerRight, innerLeft, outerLeft] = this.scheme.eye_corners;
    const right = findMean(points, [outerRight, innerRight]);
    const left = findMean(points, [innerLeft, outerLeft]);
    const length = Math.hypot(left[0] - right[0], left[1] - right[1]) || 1e-9;
    const roll = Math.atan2(left[1] - right[1], left[0] - right[0]);
    /** @type {Point} */
    const origin = [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2];
    const tip = points[this.scheme.nose_tip];
    const dx = (tip[0] - origin[0]) / length;
    const dy = (tip[1] - origin[1]) / length;
    const cos = Math.cos(roll);
    const sin = Math.sin(roll);
    return { across: cos * dx + sin * dy, down: -sin * dx + cos * dy, length, roll, origin };
  }

  /**
   * The nose stands out of the plane of the eyes: where its tip is seen tells the turn. The head nods by `pitch` about
   * the line of its eyes, then turns by `yaw`; a tip that lies (a, d) from the eyes' middle and n before it, in eye
   * distances, is seen at across = a + (n cos(pitch) - d sin(pitch)) tan(yaw) and
   * down = (d cos(pitch) + n sin(pitch)) / cos(yaw), since yaw shortens the eyes' line. The two depend on each other
   * little, so that solving them in turn soon settles.
   * @param {Frame} frame
   * @returns {Pose}
   */
  #solvePose({ across, down, roll }) {
    const reach = Math.hypot(this.ahead.down, this.nose);
    const rest = Math.atan2(this.ahead.down, this.nose);
    let yaw = 0;
    let pitch = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const forward = this.nose * Math.cos(pitch) - this.ahead.down * Math.sin(pitch);
      yaw = clamp(Math.atan((across - this.ahead.across) / Math.max(forward, 0.1)), STEEPEST);
      pitch = clamp(Math.asin(clamp((down * Math.cos(yaw)) / reach, 1)) - rest, STEEPEST);
    }
    return { yaw, pitch, roll };
  }

  /**
   * Points as the head would show them upright and ahead, in eye distances about the middle of the eyes.
   * @param {Points} points
   * @param {Pose} pose
   * @param {Frame} frame
   * @returns {Points}
   */
  #straighten(points, { yaw, pitch, roll }, { length, origin }) {
    const unit = length / Math.cos(yaw);
    return points.map((point, index) => {
      const dx = (point[0] - origin[0]) / unit;
      const dy = (point[1] - origin[1]) / unit;
      const seenX = Math.cos(roll) * dx + Math.sin(roll) * dy;
      const seenY = -Math.sin(roll) * dx + Math.cos(roll) * dy;
      const y = (seenY - this.depth[index] * Math.sin(pitch)) / Math.cos(pitch);
      const forward = this.depth[index] * Math.cos(pitch) - y * Math.sin(pitch);
      return [(seenX - forward * Math.sin(yaw)) / Math.cos(yaw), y];
    });
  }

  /**
   * The inverse of `#straighten`.
   * @param {Points} flat
   * @param {Pose} pose
   * @param {number} unit
   * @param {Point} origin
   * @returns {Points}
   */
  #project(flat, { yaw, pitch, roll }, unit, origin) {
    return flat.map(([x, y], index) => {
      const forward = this.depth[index] * Math.cos(pitch) - y * Math.sin(pitch);
      const seenX = (x * Math.cos(yaw) + forward * Math.sin(yaw)) * unit;
      const seenY = (y * Math.cos(pitch) + this.depth[index] * Math.sin(pitch)) * unit;
      return [
        origin[0] + Math.cos(roll) * seenX - Math.sin(roll) * seenY,
        origin[1] + Math.sin(roll) * seenX + Math.cos(roll) * seenY,
      ];
    });
  }

  /**
   * The motions whose sum comes nearest to what the features do.
   * @param {Points} flat
   * @returns {number[]}
   */
  #fitMotions(flat) {
    const offset = flat.flatMap(([x, y], index) => [x - this.shape[index][0], y - this.shape[index][1]]);
    return this.solver.map((row) => row.reduce((sum, weight, index) => sum + weight * offset[index], 0));
  }
}

/**
 * @param {number} value
 * @param {number} limit
 */
function clamp(value, limit) {
  return Math.min(limit, Math.max(-limit, value));
}

/**
 * @param {readonly number[]} depth
 * @param {readonly number[]} indices
 */
function findMeanDepth(depth, indices) {
  return indices.reduce((sum, index) => sum + depth[index], 0) / indices.length;
}

/**
 * The least-squares inverse of the motions, (K, 2N): its rows give each motion's share of an offset.
 * @param {number[][]} rows
 * @returns {number[][]}
 */
function invertMotions(rows) {
  const count = rows.length;
  // [G | B], G = B Bᵀ: elimination turns the right half into G⁻¹ B.
  const table = rows.map((row) => [
    ...rows.map((other) => row.reduce((sum, value, index) => sum + value * other[index], 0)),
    ...row,
  ]);
  for (let pivot = 0; pivot < count; pivot++) {
    const scale = table[pivot][pivot]; // G is positive definite: no exchange of rows is needed
    table[pivot] = table[pivot].map((value) => value / scale);
    for (let other = 0; other < count; other++) {
      if (other === pivot) continue;
      const share = table[other][pivot];
      table[other] = table[other].map((value, index) => value - share * table[pivot][index]);
    }
  }
  return table.map((row) => row.slice(count));
}
