// A clip that was sent: how far its video is, and the video.

import { make } from "../editor/dom.js";
import { ProblemError, request, tell } from "../problem.js";

/**
 * @typedef {{id: string, target: string, state: "waiting" | "running" | "done" | "failed" | "cancelled",
 *   frames: number, total: number | null, progress: number | null, without_face: number, eta_seconds: number | null,
 *   error: string | null, created: number, expires: number | null, result: string | null}} Job
 */

const ASK_EVERY = 700; // milliseconds
const BUSY = 503;
const BUSY_WAIT = 3000; // milliseconds until a clip is sent again for which there was no room

export class JobCard {
  id = "";
  #gone = false;
  #upload = new AbortController();

  /**
   * @param {string} name of the clip, empty where only its job is known
   * @param {() => void} onChange what is shown here has come or gone
   */
  constructor(name, onChange) {
    const spoken = name || "the clip";
    this.onChange = onChange;
    this.element = make("li", { class: "card job" });
    this.name = this.element.appendChild(make("p", { class: "name" }));
    this.name.textContent = name;
    this.state = this.element.appendChild(make("p", { class: "state", role: "status" }));
    this.progress = this.element.appendChild(make("progress", { max: "1", "aria-label": `How much of ${spoken} is made` }));
    this.details = this.element.appendChild(make("p", { class: "details quiet" }));
    this.message = this.element.appendChild(make("p", { class: "message error", role: "alert" }));
    this.preview = this.element.appendChild(make("video", { controls: "", playsinline: "", "aria-label": `The video of ${spoken}` }));
    const row = this.element.appendChild(make("div", { class: "row" }));
    this.download = row.appendChild(make("a", { class: "button primary download", download: "" }));
    this.download.textContent = "Download";
    this.cancel = row.appendChild(make("button", { type: "button", class: "cancel" }));
    this.cancel.textContent = "Cancel";
    this.remove = row.appendChild(make("button", { type: "button", class: "delete" }));
    this.remove.textContent = "Delete from the service";
    this.download.hidden = this.preview.hidden = this.remove.hidden = true;
    this.cancel.addEventListener("click", () => void this.#cancel());
    this.remove.addEventListener("click", async () => {
      if (await this.#ask(`jobs/${this.id}`, "DELETE")) this.#leave();
    });
  }

  /**
   * Send a clip, then follow its job; where the service has no room yet, again and again.
   * @param {FormData} form
   */
  async send(form) {
    this.#setState("Sending …");
    try {
      while (!this.id) {
        try {
          const options = { method: "POST", body: form, signal: this.#upload.signal };
          /** @type {Job} */
          const job = await (await request("reenact/video", options)).json();
          this.#begin(job);
        } catch (error) {
          if (!(error instanceof ProblemError && error.status === BUSY)) throw error;
          this.#setState("Other videos come first. Waiting to send …");
          await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT));
          if (this.#gone) return;
        }
      }
    } catch (error) {
      if (this.#gone) return;
      this.#setState("Not sent.");
      this.cancel.textContent = "Remove";
      this.message.textContent = tell(error);
      this.progress.hidden = true;
    }
  }

  /**
   * Ask for a job until it has ended.
   * @param {string} id
   */
  async follow(id) {
    this.id = id;
    this.onChange();
    while (!this.#gone) {
      try {
        /** @type {Job} */
        const job = await (await request(`jobs/${id}`)).json();
        if (this.#gone) return;
        this.message.textContent = "";
        this.#show(job);
        if (job.state !== "waiting" && job.state !== "running") return;
      } catch (error) {
        this.message.textContent = tell(error);
        if (error instanceof ProblemError && error.status === 404) {
          this.id = "";
          this.progress.hidden = true;
          this.onChange();
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY));
    }
  }

  /** @param {Job} job */
  #begin(job) {
    if (this.#gone) {
      void request(`jobs/${job.id}`, { method: "DELETE" });
      return;
    }
    this.#show(job);
    void this.follow(job.id);
  }

  /** @param {Job} job */
  #show(job) {
    const ended = job.state === "done" || job.state === "failed" || job.state === "cancelled";
    if (!this.name.textContent) this.name.textContent = `${job.target}, ${tellMoment(job.created)}`;
    this.#setState({
      waiting: "Waiting for its turn.",
      running: "Making the video.",
      done: "Done.",
      failed: `Failed. ${job.error ?? ""}`,
      cancelled: "Cancelled.",
    }[job.state]);
    this.progress.hidden = ended;
    if (job.progress === null) this.progress.removeAttribute("value");
    else this.progress.value = job.progress;
    const words = [job.total ? `${job.frames} of ${job.total} frames` : `${job.frames} frames`];
    if (job.without_face) words.push(`${job.without_face} without a face`);
    if (job.eta_seconds !== null) words.push(`about ${tellTime(job.eta_seconds)} left`);
    if (job.expires !== null) words.push(`kept until ${tellMoment(job.expires)}`);
    this.details.textContent = words.join(" · ");
    this.cancel.hidden = ended;
    this.remove.hidden = !ended;
    this.download.hidden = this.preview.hidden = !job.result;
    if (job.result) {
      const path = job.result.slice(1); // relative to the page, wherever the service is mounted
      this.download.href = path;
      if (!this.preview.src.endsWith(path)) this.preview.src = path;
    }
  }

  async #cancel() {
    if (!this.id) {
      this.#leave();
      return;
    }
    const answer = await this.#ask(`jobs/${this.id}/cancel`, "POST");
    if (answer) this.#show(await answer.json());
  }

  #leave() {
    this.#gone = true;
    this.#upload.abort();
    this.id = "";
    this.element.remove();
    this.onChange();
  }

  /** @param {string} words */
  #setState(words) {
    if (this.state.textContent !== words) this.state.textContent = words; // read aloud by screen readers: only changes
  }

  /**
   * @param {string} path
   * @param {string} method
   * @returns {Promise<Response | null>}
   */
  async #ask(path, method) {
    try {
      return await request(path, { method });
    } catch (error) {
      this.message.textContent = tell(error);
      return null;
    }
  }
}

/** @param {number} seconds */
function tellTime(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** @param {number} seconds since the epoch */
function tellMoment(seconds) {
  return new Date(1000 * seconds).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
