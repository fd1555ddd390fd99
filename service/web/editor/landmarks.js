// What is edited: a target's landmarks, which of them are chosen, and what has been done. Everything on the page shows
// this one state and hears of its changes: "points" (they moved), "selection", "way" (what can be undone, and whether they are converted).

import { measureDistances, weigh } from "./falloff.js";
import { Face } from "./face.js";
import { History } from "./history.js";

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {{points: Points, convert: boolean}} State `convert`: the points have another person's shape
 */

export class Landmarks extends EventTarget {
  /** @type {Points} */ points;
  /** @type {ReadonlySet<number>} */ chosen = new Set();
  convert = false;
  radius = 0;
  /** @type {History<State>} */ #history;
  /** @type {State} */ #start;

  /**
   * @param {import("./service.js").Scheme} scheme
   * @param {import("./service.js").Manifest} manifest
   */
  constructor(scheme, manifest) {
    super();
    this.scheme = scheme;
    this.manifest = manifest;
    this.face = new Face(scheme, manifest);
    this.distances = measureDistances(scheme, manifest.shape);
    this.points = manifest.neutral;
    this.#start = { points: this.points, convert: false };
    this.#history = new History(this.#start);
  }

  get canUndo() {
    return this.#history.canUndo;
  }

  get canRedo() {
    return this.#history.canRedo;
  }

  /** How far each point goes along with the chosen ones. */
  get weights() {
    return weigh(this.distances, this.chosen, this.radius);
  }

  /**
   * Other points, in the middle of a gesture: shown, and not yet in the history.
   * @param {Points} points
   * @param {number} [since] when it happened, on the clock of `performance.now`
   */
  show(points, since) {
    this.points = points;
    this.#tell("points", since);
  }

  /** The end of a gesture: one step to undo, where anything came of it. */
  record() {
    const { points, convert } = this.#history.present;
    if (points === this.points && convert === this.convert) return;
    this.#history.record({ points: this.points, convert: this.convert });
    this.#tell("way");
  }

  /**
   * A whole edit at once.
   * @param {Points} points
   * @param {number} [since]
   */
  edit(points, since) {
    this.show(points, since);
    this.record();
  }

  /**
   * Another face to start from, to which `reset` comes back; it can be undone like an edit.
   * @param {Points} points
   * @param {boolean} convert
   */
  start(points, convert) {
    this.#start = { points, convert };
    this.reset();
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
    this.#enter({ points: this.points, convert });
    this.record();
  }

  /** @param {Iterable<number>} points */
  choose(points) {
    this.chosen = new Set(points);
    this.#tell("selection");
  }

  /**
   * The points of the feature that a point belongs to.
   * @param {number} point
   * @returns {number[]}
   */
  findFeature(point) {
    return Object.values(this.scheme.features).find((points) => points.includes(point)) ?? [point];
  }

  /** @param {State} state */
  #enter({ points, convert }) {
    this.convert = convert;
    this.show(points);
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
