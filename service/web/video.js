// The page /video: a clip to a job, its progress, and the video that it makes. The job's id stays in the address, so
// that a page loaded again shows it again.

import { find } from "./editor/dom.js";
import { ProblemError, request, tell } from "./problem.js";
import { fillTargets } from "./targets.js";

/**
 * @typedef {{id: string, state: "waiting" | "running" | "done" | "failed" | "cancelled", frames: number,
 *   total: number | null, progress: number | null, without_face: number, eta_seconds: number | null,
 *   error: string | null, expires: number | null, result: string | null}} Job
 */

const ASK_EVERY = 700; // milliseconds

const file = find("file", HTMLInputElement);
const target = find("target", HTMLSelectElement);
const make = find("make", HTMLButtonElement);
const message = find("message", HTMLElement);
const panel = find("job", HTMLElement);
const state = find("state", HTMLElement);
const details = find("details", HTMLElement);
const progress = find("progress", HTMLProgressElement);
const preview = find("preview", HTMLVideoElement);
const cancel = find("cancel", HTMLButtonElement);
const download = find("download", HTMLAnchorElement);
const remove = find("delete", HTMLButtonElement);

let current = ""; // id of the job that is shown
let uploading = new AbortController();

/** @param {number} seconds */
function tellTime(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
}

/** @param {string} words */
function setState(words) {
  if (state.textContent !== words) state.textContent = words; // read aloud by screen readers: only when it changes
}

/** @param {Job} job */
function showJob(job) {
  const ended = job.state === "done" || job.state === "failed" || job.state === "cancelled";
  panel.hidden = false;
  setState({
    waiting: "Waiting for its turn.",
    running: "Making the video.",
    done: "Done.",
    failed: `Failed. ${job.error ?? ""}`,
    cancelled: "Cancelled.",
  }[job.state]);
  progress.hidden = ended;
  if (job.progress === null) progress.removeAttribute("value");
  else progress.value = job.progress;
  const words = [job.total ? `${job.frames} of ${job.total} frames` : `${job.frames} frames`];
  if (job.without_face) words.push(`${job.without_face} without a face`);
  if (job.eta_seconds !== null) words.push(`about ${tellTime(job.eta_seconds)} left`);
  if (job.expires !== null) words.push(`kept until ${new Date(1000 * job.expires).toLocaleString()}`);
  details.textContent = words.join(" · ");
  cancel.hidden = ended;
  remove.hidden = !ended;
  download.hidden = preview.hidden = !job.result;
  if (job.result) {
    const path = job.result.slice(1); // relative to the page, wherever the service is mounted
    download.href = path;
    if (!preview.src.endsWith(path)) preview.src = path;
  }
}

function showNothing() {
  current = "";
  preview.removeAttribute("src");
  preview.load();
  panel.hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
}

/**
 * Ask for the job until it has ended or another is shown.
 * @param {string} id
 */
async function follow(id) {
  current = id;
  history.replaceState(null, "", `#${id}`);
  while (current === id) {
    try {
      /** @type {Job} */
      const job = await (await request(`jobs/${id}`)).json();
      if (current !== id) return;
      message.textContent = "";
      showJob(job);
      if (job.state !== "waiting" && job.state !== "running") return;
    } catch (error) {
      message.textContent = tell(error);
      if (error instanceof ProblemError && error.status === 404) {
        showNothing();
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY));
  }
}

async function submit() {
  const clip = file.files?.[0];
  if (!clip) return;
  const form = new FormData();
  form.append("video", clip);
  form.append("target", target.value);
  form.append("face", find("face", HTMLSelectElement).value);
  form.append("label", find("label", HTMLInputElement).checked ? "visible" : "none");
  form.append("smoothing", String(find("smoothing", HTMLInputElement).checked));
  const layout = document.querySelector('input[name="layout"]:checked');
  if (layout instanceof HTMLInputElement) form.append("layout", layout.value);
  showNothing();
  make.disabled = true;
  message.textContent = "";
  panel.hidden = progress.hidden = cancel.hidden = false;
  download.hidden = preview.hidden = remove.hidden = true;
  progress.removeAttribute("value");
  details.textContent = "";
  setState(`Sending ${clip.name} …`);
  uploading = new AbortController();
  try {
    const answer = await request("reenact/video", { method: "POST", body: form, signal: uploading.signal });
    /** @type {Job} */
    const job = await answer.json();
    showJob(job);
    void follow(job.id);
  } catch (error) {
    panel.hidden = true;
    const aborted = error instanceof DOMException && error.name === "AbortError";
    message.textContent = aborted ? "" : tell(error);
  } finally {
    make.disabled = false;
  }
}

/**
 * @param {string} path
 * @param {string} method
 * @returns {Promise<Response | null>}
 */
async function ask(path, method) {
  try {
    return await request(path, { method });
  } catch (error) {
    message.textContent = tell(error);
    return null;
  }
}

file.addEventListener("change", () => {
  find("name", HTMLElement).textContent = file.files?.[0]?.name ?? "None chosen";
  make.disabled = !file.files?.length || target.options.length === 0;
});
make.addEventListener("click", () => void submit());
cancel.addEventListener("click", async () => {
  if (!current) return uploading.abort();
  const answer = await ask(`jobs/${current}/cancel`, "POST");
  if (answer) showJob(await answer.json());
});
remove.addEventListener("click", async () => {
  if (await ask(`jobs/${current}`, "DELETE")) showNothing();
});

try {
  await fillTargets(target);
} catch (error) {
  message.textContent = tell(error);
}
const kept = location.hash.slice(1);
if (/^[0-9a-f]{32}$/.test(kept)) void follow(kept);
