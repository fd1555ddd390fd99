// The picture follows the points: one request under way, and of what came meanwhile only the newest is asked for next.

/**
 * @typedef {import("./service.js").Portrait} Portrait
 */

export class Painter {
  /** @type {{ask: () => Promise<Portrait>, since: number} | null} */ #next = null;
  #busy = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{painted: (portrait: Portrait) => void, failed: (error: unknown) => void}} listener
   */
  constructor(canvas, listener) {
    this.canvas = canvas;
    this.listener = listener;
  }

  /**
   * Ask for a picture, now or as soon as the one under way is painted; replaces any that is waiting.
   * @param {() => Promise<Portrait>} ask
   * @param {number} [since] when what asks for it happened, on the clock of `performance.now`
   */
  request(ask, since = performance.now()) {
    this.#next = { ask, since };
    if (!this.#busy) void this.#work();
  }

  async #work() {
    this.#setBusy(true);
    while (this.#next) {
      const { ask, since } = this.#next;
      this.#next = null;
      try {
        const portrait = await ask();
        await this.#paint(portrait.picture);
        this.listener.painted(portrait);
        // Of use to whoever measures; nobody here listens.
        this.canvas.dispatchEvent(new CustomEvent("painted", { bubbles: true, detail: { since } }));
      } catch (error) {
        this.listener.failed(error);
      }
    }
    this.#setBusy(false);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.#busy = busy;
    this.canvas.setAttribute("aria-busy", String(busy));
  }

  /** @param {Blob} picture */
  async #paint(picture) {
    const bitmap = await createImageBitmap(picture);
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    bitmap.close();
  }
}
