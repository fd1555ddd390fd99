// Landmarks as plain pairs in crop units, x right and y down, and what can be done to them without knowing a face.

/**
 * @typedef {readonly [number, number]} Point
 * @typedef {readonly Point[]} Points
 * @typedef {{centre_points: number[], scale_points: number[], factor: number, drop: number}} CropRule
 * @typedef {{x: number, y: number, side: number}} Crop its centre and its side
 */

/** @type {Crop} what of the target's crop a picture shows, unless the face was moved in it */
export const WHOLE = { x: 0.5, y: 0.5, side: 1 };
const OFF_CENTRE = 0.35; // crop sides that a face can be moved by: beyond the crop there is only its edge to show
const SIDES = /** @type {const} */ ([0.6, 1.6]);

/**
 * A view that still shows the face.
 * @param {Crop} view
 * @returns {Crop}
 */
export function limitView({ x, y, side }) {
  return {
    x: clamp(x, 0.5 - OFF_CENTRE, 0.5 + OFF_CENTRE),
    y: clamp(y, 0.5 - OFF_CENTRE, 0.5 + OFF_CENTRE),
    side: clamp(side, ...SIDES),
  };
}

/**
 * A view in which what is at a place stays there, and all is so much larger.
 * @param {Crop} view
 * @param {Point} place in crop units
 * @param {number} scale
 * @returns {Crop}
 */
export function enlarge({ x, y, side }, place, scale) {
  const wanted = clamp(side / scale, ...SIDES);
  const change = wanted / side;
  return limitView({ x: place[0] + (x - place[0]) * change, y: place[1] + (y - place[1]) * change, side: wanted });
}

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/**
 * The mean of some of the points.
 * @param {Points} points
 * @param {readonly number[]} indices
 * @returns {Point}
 */
export function findMean(points, indices) {
  let x = 0;
  let y = 0;
  for (const index of indices) {
    x += points[index][0];
    y += points[index][1];
  }
  return [x / indices.length, y / indices.length];
}

/**
 * The crop that the points give themselves, as `find_crop` of the service does.
 * @param {Points} points
 * @param {CropRule} rule
 * @returns {Crop}
 */
export function findCrop(points, rule) {
  const [mx, my] = findMean(points, rule.scale_points);
  const squares = rule.scale_points.map((index) => (points[index][0] - mx) ** 2 + (points[index][1] - my) ** 2);
  const side = rule.factor * Math.sqrt(squares.reduce((sum, each) => sum + each, 0) / squares.length);
  const [x, y] = findMean(points, rule.centre_points);
  return { x, y: y + rule.drop * side, side };
}

/**
 * Points moved and scaled so that the crop they give themselves becomes another.
 * @param {Points} points
 * @param {CropRule} rule
 * @param {Crop} wanted
 * @returns {Points}
 */
export function fitCrop(points, rule, wanted) {
  const crop = findCrop(points, rule);
  const scale = wanted.side / crop.side;
  return points.map(([x, y]) => [wanted.x + (x - crop.x) * scale, wanted.y + (y - crop.y) * scale]);
}

/**
 * The points of the mirrored picture.
 * @param {Points} points
 * @param {readonly number[]} flip
 * @returns {Points}
 */
export function mirror(points, flip) {
  return flip.map((index) => [1 - points[index][0], points[index][1]]);
}

/**
 * Each point moved as far as its weight says: 0 stays where it is, to the bit; 1 goes the whole way.
 * @param {Points} points
 * @param {readonly number[]} weights
 * @param {(point: Point) => Point} move
 * @returns {Points}
 */
export function moveWeighted(points, weights, move) {
  return points.map((point, index) => {
    const weight = weights[index];
    if (weight === 0) return point;
    const [x, y] = move(point);
    return [point[0] + weight * (x - point[0]), point[1] + weight * (y - point[1])];
  });
}

/**
 * A turn by an angle in radians, clockwise in the picture, and a change of size, both about a centre.
 * @param {Point} centre
 * @param {number} angle
 * @param {number} scale
 * @returns {(point: Point) => Point}
 */
export function turnAbout(centre, angle, scale) {
  const cos = Math.cos(angle) * scale;
  const sin = Math.sin(angle) * scale;
  return ([x, y]) => {
    const dx = x - centre[0];
    const dy = y - centre[1];
    return [centre[0] + cos * dx - sin * dy, centre[1] + sin * dx + cos * dy];
  };
}

/**
 * The smallest upright box around some of the points: left, top, right, bottom.
 * @param {Points} points
 * @param {Iterable<number>} indices
 * @returns {[number, number, number, number]}
 */
export function findBounds(points, indices) {
  /** @type {[number, number, number, number]} */
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const index of indices) {
    const [x, y] = points[index];
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/**
 * Whether a point lies inside a polygon.
 * @param {Point} point
 * @param {Points} polygon
 * @returns {boolean}
 */
export function isInside([x, y], polygon) {
  let inside = false;
  polygon.forEach(([ax, ay], index) => {
    const [bx, by] = polygon[(index + 1) % polygon.length];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  });
  return inside;
}
