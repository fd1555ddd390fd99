// What leaves the editor: the landmarks as a file, the picture, and the command that makes it.

import { find, make } from "./dom.js";
import { pack } from "./keep.js";
import { makeOrder } from "./service.js";

/**
 * @typedef {import("./landmarks.js").Landmarks} Landmarks
 */

export class Results {
  /** @type {Landmarks | null} */ #landmarks = null;
  /** @type {Blob | null} */ #picture = null;
  #planned = 0;

  constructor() {
    this.command = find("command", HTMLTextAreaElement);
    this.copied = find("copied", HTMLElement);
    this.download = find("download", HTMLButtonElement);
    this.download.addEventListener("click", () => this.#picture && this.#save(this.#picture, "jpg"));
    find("save", HTMLButtonElement).addEventListener("click", () => {
      this.#save(new Blob([`${JSON.stringify(this.#order)}\n`], { type: "application/json" }), "json");
    });
    find("copy", HTMLButtonElement).addEventListener("click", () => this.#copy(this.command.value));
    find("copy-link", HTMLButtonElement).addEventListener("click", () => this.#copyLink());
  }

  /** @param {Landmarks} landmarks */
  attach(landmarks) {
    this.#landmarks = landmarks;
    for (const event of ["points", "way"]) landmarks.addEventListener(event, () => this.#plan());
    this.#plan();
  }

  /** @param {Blob} picture */
  show(picture) {
    this.#picture = picture;
    this.download.disabled = false;
  }

  get #order() {
    const landmarks = this.#landmarks;
    if (!landmarks) return null;
    return makeOrder(landmarks.manifest.target, landmarks.scheme.name, landmarks);
  }

  #plan() {
    this.#planned ||= requestAnimationFrame(() => {
      this.#planned = 0;
      const url = new URL("synthesize", document.baseURI);
      const body = JSON.stringify(this.#order);
      this.command.value = `curl -sS ${url} -H 'Content-Type: application/json' -o face.jpg -d '${body}'`;
      this.copied.textContent = "";
    });
  }

  async #copyLink() {
    const landmarks = this.#landmarks;
    if (!landmarks) return;
    const { manifest, scheme, points, convert, view } = landmarks;
    const link = new URL(document.baseURI);
    link.hash = pack({ target: manifest.target, scheme: scheme.name, convert, points, view });
    await this.#copy(link.href);
  }

  /** @param {string} text */
  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.copied.textContent = "Copied.";
    } catch {
      // Browsers keep the clipboard from pages that came over plain HTTP from another machine.
      this.command.value = text;
      this.command.closest("details")?.setAttribute("open", "");
      this.command.select();
      this.copied.textContent = "Chosen below: copy it with Ctrl+C.";
    }
  }

  /**
   * @param {Blob} data
   * @param {string} ending
   */
  #save(data, ending) {
    const link = make("a", { download: `${this.#landmarks?.manifest.target ?? "face"}.${ending}` });
    link.href = URL.createObjectURL(data);
    link.click();
    URL.revokeObjectURL(link.href);
  }
}
