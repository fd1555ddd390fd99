// The head's pose: a rigid head seen from afar, fitted to points of which some may have been moved by hand.

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {{yaw: number, pitch: number, roll: number, unit: number, x: number, y: number}} Pose angles in radians; the
 *   head nods by `pitch`, turns by `yaw`, tilts by `roll`, is `unit` large and stands at (x, y)
 */

const STEEPEST = Math.PI / 3; // beyond it the landmarks of one side hide the other's
const STEPS = 12;
const SETTLED = 1e-9;
// How far a point may be off, in units of the head, before it counts as moved by hand: far at first, so that the head
// is found, then near.
const TOLERANCES = [0.5, 0.1, 0.04];

const NAMES = /** @type {const} */ (["yaw", "pitch", "roll", "unit", "x", "y"]);

/**
 * Where the points of an upright face that looks into the camera are seen.
 * @param {Points} flat
 * @param {Pose} pose
 * @param {readonly number[]} depth
 * @returns {Points}
 */
export function project(flat, { yaw, pitch, roll, unit, x, y }, depth) {
  return flat.map(([across, down], index) => {
    const forward = depth[index] * Math.cos(pitch) - down * Math.sin(pitch);
    const seenX = (across * Math.cos(yaw) + forward * Math.sin(yaw)) * unit;
    const seenY = (down * Math.cos(pitch) + depth[index] * Math.sin(pitch)) * unit;
    return [x + Math.cos(roll) * seenX - Math.sin(roll) * seenY, y + Math.sin(roll) * seenX + Math.cos(roll) * seenY];
  });
}

/**
 * The inverse of `project`.
 * @param {Points} points
 * @param {Pose} pose
 * @param {readonly number[]} depth
 * @returns {Points}
 */
export function straighten(points, { yaw, pitch, roll, unit, x, y }, depth) {
  return points.map((point, index) => {
    const dx = (point[0] - x) / unit;
    const dy = (point[1] - y) / unit;
    const seenX = Math.cos(roll) * dx + Math.sin(roll) * dy;
    const seenY = -Math.sin(roll) * dx + Math.cos(roll) * dy;
    const down = (seenY - depth[index] * Math.sin(pitch)) / Math.cos(pitch);
    const forward = depth[index] * Math.cos(pitch) - down * Math.sin(pitch);
    return [(seenX - forward * Math.sin(yaw)) / Math.cos(yaw), down];
  });
}

/**
 * The pose in which most of the rigid points lie where they are: Gauss and Newton's steps, each point weighed by how
 * near it lies (Geman and McClure's weights), so that an eye moved by hand turns no head.
 * @param {Points} points
 * @param {Points} flat the head, upright and looking into the camera
 * @param {readonly number[]} depth
 * @param {readonly number[]} rigid
 * @returns {Pose}
 */
export function fitPose(points, flat, depth, rigid) {
  const seen = rigid.map((index) => points[index]);
  const head = rigid.map((index) => flat[index]);
  const depths = rigid.map((index) => depth[index]);
  let pose = beginPose(seen, head);
  for (const tolerance of TOLERANCES) {
    for (let step = 0; step < STEPS; step++) {
      const change = solveStep(pose, seen, head, depths, tolerance);
      const next = { ...pose };
      NAMES.forEach((name, index) => (next[name] = pose[name] + change[index]));
      next.yaw = clamp(next.yaw, STEEPEST);
      next.pitch = clamp(next.pitch, STEEPEST);
      next.unit = Math.max(next.unit, pose.unit / 2);
      pose = next;
      if (Math.hypot(...change) < SETTLED) break;
    }
  }
  return pose;
}

/**
 * Looking into the camera: what a turn, a size and a place make of the head.
 * @param {Points} seen
 * @param {Points} head
 * @returns {Pose}
 */
function beginPose(seen, head) {
  const [sx, sy] = mean(seen);
  const [hx, hy] = mean(head);
  let cos = 0;
  let sin = 0;
  let square = 1e-12;
  seen.forEach(([x, y], index) => {
    const [a, b] = [head[index][0] - hx, head[index][1] - hy];
    cos += a * (x - sx) + b * (y - sy);
    sin += a * (y - sy) - b * (x - sx);
    square += a * a + b * b;
  });
  const roll = Math.atan2(sin, cos);
  const unit = Math.max(Math.hypot(cos, sin) / square, 1e-9);
  const x = sx - unit * (Math.cos(roll) * hx - Math.sin(roll) * hy);
  const y = sy - unit * (Math.sin(roll) * hx + Math.cos(roll) * hy);
  return { yaw: 0, pitch: 0, roll, unit, x, y };
}

/**
 * @param {Pose} pose
 * @param {Points} seen
 * @param {Points} head
 * @param {number[]} depths
 * @param {number} tolerance
 * @returns {number[]} what to add to each of `NAMES`
 */
function solveStep(pose, seen, head, depths, tolerance) {
  const here = project(head, pose, depths);
  const slopes = NAMES.map((name) => {
    const nudge = 1e-6 * (name === "unit" || name === "x" || name === "y" ? pose.unit : 1);
    const there = project(head, { ...pose, [name]: pose[name] + nudge }, depths);
    return there.flatMap(([x, y], index) => [(x - here[index][0]) / nudge, (y - here[index][1]) / nudge]);
  });
  const rest = seen.flatMap(([x, y], index) => [x - here[index][0], y - here[index][1]]);
  const weights = seen.flatMap((_, index) => {
    const off = Math.hypot(rest[2 * index], rest[2 * index + 1]) / pose.unit / tolerance;
    const weight = 1 / (1 + off * off) ** 2;
    return [weight, weight];
  });
  const table = slopes.map((row, place) => [
    ...slopes.map((other, column) => sum(row, other, weights) + (place === column ? 1e-12 : 0)),
    sum(row, rest, weights),
  ]);
  return solve(table);
}

/**
 * A symmetric system by elimination: its rows with the right side as last column.
 * @param {number[][]} table
 */
function solve(table) {
  const count = table.length;
  for (let pivot = 0; pivot < count; pivot++) {
    const scale = table[pivot][pivot]; // positive definite: no exchange of rows is needed
    table[pivot] = table[pivot].map((value) => value / scale);
    for (let other = 0; other < count; other++) {
      if (other === pivot) continue;
      const share = table[other][pivot];
      table[other] = table[other].map((value, index) => value - share * table[pivot][index]);
    }
  }
  return table.map((row) => row[count]);
}

/**
 * @param {number[]} a
 * @param {number[]} b
 * @param {number[]} weights
 */
function sum(a, b, weights) {
  return a.reduce((total, value, index) => total + value * b[index] * weights[index], 0);
}

/** @param {Points} points */
function mean(points) {
  return [0, 1].map((axis) => points.reduce((total, point) => total + point[axis], 0) / points.length);
}

/**
 * @param {number} value
 * @param {number} limit
 */
function clamp(value, limit) {
  return Math.min(limit, Math.max(-limit, value));
}
