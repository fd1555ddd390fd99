// What is edited: a target's landmarks, which of them are chosen, and what has been done. Everything on the page shows
// this one state and hears of its changes: "points" (they moved), "selection", "way" (what can be undone, and whether they are converted).

import { measureDistances, weigh } from "./falloff.js";
import { Face } from "./face.js";
import { History } from "./history.js";
import { findCrop, findMean, fitCrop, WHOLE } from "./points.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./points.js").Crop} Crop
 * @typedef {{points: Points, convert: boolean, view: Crop}} State `convert`: the points have another person's shape;
 *   `view`: what of the target's crop the picture shows, which changes where the whole face is moved
 */

export class Landmarks extends EventTarget {
  /** @type {Points} */ points;
  /** @type {ReadonlySet<number>} */ chosen = new Set();
  convert = false;
  /** @type {Crop} */ view = WHOLE;
  radius = 0;
  /** @type {History<State>} */ #history;
  /** @type {State} */ #start;

  /**
   * @param {import("./service.js").Scheme} scheme
   * @param {import("./service.js").Manifest} manifest
   * @param {Landmarks | null} [before] another target's, whose edits go on with this one
   */
  constructor(scheme, manifest, before = null) {
    super();
    this.scheme = scheme;
    this.manifest = manifest;
    this.face = new Face(scheme, manifest);
    this.distances = measureDistances(scheme, manifest.shape);
    const pupils = scheme.pupils ?? [];
    this.eyes = pupils.map((pupil) => ({ pupil, lids: this.findWhole(pupil).filter((point) => point !== pupil) }));
    this.#start = { points: manifest.neutral, convert: false, view: WHOLE };
    this.#history = new History(this.#start);
    if (before) {
      this.#start = this.adapt(before.#start, before);
      this.#history = before.#history.map((state) => this.adapt(state, before));
    }
    ({ points: this.points, convert: this.convert, view: this.view } = this.#history.present);
  }

  get canUndo() {
    return this.#history.canUndo;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  /** Whether the whole face is chosen: then the picture's view moves, and no point does. */
  get isWhole() {
    return this.chosen.size === this.points.length;
  }

  /** How far each point goes along with the chosen ones. */
  get weights() {
    return weigh(this.distances, this.chosen, this.radius, this.eyes);
  }

  /**
   * Points with which the whole face stays in its place and size: the generator knows it nowhere else.
   * @param {Points} points
   * @returns {Points} the same where they are not the whole face
   */
  hold(points) {
    return this.isWhole ? fitCrop(points, this.manifest.crop, findCrop(this.points, this.manifest.crop)) : points;
  }

  /**
   * Other points, in the middle of a gesture: shown, and not yet in the history.
   * @param {Points} points
   * @param {number} [since] when it happened, on the clock of `performance.now`
   * @param {Crop} [view]
   */
  show(points, since, view = this.view) {
    this.points = points;
    this.view = view;
    this.#tell("points", since);
  }

  /**
   * Another face for a moment, which is no edit.
   * @param {State} state
   */
  preview({ points, convert, view }) {
    this.convert = convert;
    this.show(points, undefined, view);
  }

  /** The end of a gesture: one step to undo, where anything came of it. */
  record() {
    const { points, convert, view } = this.#history.present;
    if (points === this.points && convert === this.convert && view === this.view) return;
    this.#history.record({ points: this.points, convert: this.convert, view: this.view });
    this.#tell("way");
  }

  /**
   * A whole edit at once.
   * @param {Points} points
   * @param {number} [since]
   * @param {Crop} [view]
   */
  edit(points, since, view) {
    this.show(points, since, view);
    this.record();
  }

  /**
   * Another face to start from, to which `reset` comes back; it can be undone like an edit.
   * @param {Points} points
   * @param {boolean} convert
   * @param {Crop} [view]
   */
  start(points, convert, view = WHOLE) {
    this.#start = { points, convert, view };
    this.reset();
  }

  /**
   * An edit that was kept: one step from the target's neutral face.
   * @param {State} state
   */
  restore(state) {
    this.#enter(state);
    this.record();
  }

  reset() {
    this.#enter(this.#start);
    this.record();
  }

  undo() {
    this.#enter(this.#history.undo());
  }

  redo() {
    this.#enter(this.#history.redo());
  }

  /** @param {boolean} convert */
  setConvert(convert) {
    this.#enter({ points: this.points, convert, view: this.view });
    this.record();
  }

  /** @param {Iterable<number>} points */
  choose(points) {
    this.chosen = new Set(points);
    this.#tell("selection");
  }

  /**
   * What is taken hold of with a point: its feature, or with a pupil both of them.
   * @param {number} point
   * @returns {readonly number[]}
   */
  findFeature(point) {
    return this.scheme.pupils?.includes(point) ? this.scheme.pupils : this.findWhole(point);
  }

  /**
   * The points of the feature that a point belongs to.
   * @param {number} point
   * @returns {number[]}
   */
  findWhole(point) {
    return Object.values(this.scheme.features).find((points) => points.includes(point)) ?? [point];
  }

  /**
   * Another target's state as this one's: a face of the target's own shape does what it did, on this target's neutral
   * face; another person's stays. Where the schemes have nothing in common, it is the neutral face.
   * @param {State} state
   * @param {Landmarks} before
   * @returns {State}
   */
  adapt({ points, convert, view }, before) {
    const adapted = convertScheme(points, before.scheme, this.scheme);
    if (!adapted) return { points: this.manifest.neutral, convert: false, view };
    return { points: convert ? adapted : this.face.take(points, before.face), convert, view };
  }

  /** @param {State} state */
  #enter({ points, convert, view }) {
    this.convert = convert;
    this.show(points, undefined, view);
    this.#tell("way");
  }

  /**
   * @param {string} what
   * @param {number} [since]
   */
  #tell(what, since = performance.now()) {
    this.dispatchEvent(new CustomEvent(what, { detail: since }));
  }
}

/**
 * Points of one scheme as another's, where they differ by the pupils alone; these rest between the lids' corners.
 * @param {Points} points
 * @param {import("./service.js").Scheme} from
 * @param {import("./service.js").Scheme} to
 * @returns {Points | null} null for any other two
 */
function convertScheme(points, from, to) {
  if (from.name === to.name) return points;
  const [first, second] = [to.eye_corners.slice(0, 2), to.eye_corners.slice(2)];
  if (!from.pupils && to.pupils && to.count === from.count + 2) {
    return [...points, findMean(points, first), findMean(points, second)];
  }
  return from.pupils && !to.pupils && from.count === to.count + 2 ? points.slice(0, to.count) : null;
}
