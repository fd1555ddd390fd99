// What has been done to a value, and the way back.

/** @template T */
export class History {
  /** @type {T[]} */ #past = [];
  /** @type {T[]} */ #future = [];
  /** @type {T} */ #present;

  /** @param {T} value */
  constructor(value) {
    this.#present = value;
  }

  get present() {
    return this.#present;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /**
   * A new present. What was undone before is gone.
   * @param {T} value
   */
  record(value) {
    this.#past.push(this.#present);
    this.#present = value;
    this.#future = [];
  }

  /**
   * All of it as something else, present, past and future.
   * @template U
   * @param {(value: T) => U} change
   * @returns {History<U>}
   */
  map(change) {
    const mapped = new History(change(this.#present));
    mapped.#past = this.#past.map(change);
    mapped.#future = this.#future.map(change);
    return mapped;
  }

  /** @returns {T} the present, which is an older one now where there was one */
  undo() {
    return this.#step(this.#past, this.#future);
  }

  /** @returns {T} the present, which is the one undone last where there was one */
  redo() {
    return this.#step(this.#future, this.#past);
  }

  /**
   * @param {T[]} from
   * @param {T[]} to
   */
  #step(from, to) {
    const value = from.pop();
    if (value !== undefined) {
      to.push(this.#present);
      this.#present = value;
    }
    return this.#present;
  }
}
