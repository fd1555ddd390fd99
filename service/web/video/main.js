// The page /video: clips to jobs, and the videos that they make. The jobs' ids stay in the address, so that a page loaded
// again shows them again.

import { find } from "../editor/dom.js";
import { tell } from "../problem.js";
import { fillTargets } from "../targets.js";
import { Clip } from "./clips.js";
import { JobCard } from "./jobs.js";

const file = find("file", HTMLInputElement);
const target = find("target", HTMLSelectElement);
const make = find("make", HTMLButtonElement);
const message = find("message", HTMLElement);
const list = find("clips", HTMLElement);
const jobs = find("jobs", HTMLElement);
const drop = find("drop", HTMLElement);

/** @type {Clip[]} */
let clips = [];
/** @type {JobCard[]} */
let cards = [];

function showClips() {
  list.replaceChildren(...clips.map(({ element }) => element));
  make.disabled = clips.length === 0 || target.options.length === 0;
  make.textContent = clips.length > 1 ? `Make ${clips.length} videos` : "Make the video";
}

/** @param {Iterable<File>} files */
function take(files) {
  message.textContent = "";
  const remove = (/** @type {Clip} */ clip) => {
    clips = clips.filter((each) => each !== clip);
    showClips();
  };
  clips = [...clips, ...[...files].map((each) => new Clip(each, remove))];
  showClips();
}

/** @param {Clip} clip */
function makeForm(clip) {
  const form = new FormData();
  form.append("video", clip.file);
  form.append("target", target.value);
  form.append("face", find("face", HTMLSelectElement).value);
  form.append("label", find("label", HTMLInputElement).checked ? "visible" : "none");
  form.append("smoothing", String(find("smoothing", HTMLInputElement).checked));
  const layout = document.querySelector('input[name="layout"]:checked');
  if (layout instanceof HTMLInputElement) form.append("layout", layout.value);
  for (const [name, seconds] of Object.entries(clip.stretch)) if (seconds !== null) form.append(name, seconds.toFixed(2));
  return form;
}

/** @param {string} name */
function addCard(name) {
  const card = new JobCard(name, showJobs);
  cards = [...cards, card];
  jobs.append(card.element);
  showJobs();
  return card;
}

function showJobs() {
  cards = cards.filter(({ element }) => element.isConnected);
  find("made", HTMLElement).hidden = cards.length === 0;
  const ids = cards.flatMap(({ id }) => (id ? [id] : []));
  history.replaceState(null, "", ids.length ? `#${ids.join(",")}` : location.pathname + location.search);
}

async function submit() {
  const orders = clips.map((clip) => ({ form: makeForm(clip), card: addCard(clip.file.name) }));
  find("made", HTMLElement).scrollIntoView({ block: "nearest" });
  for (const { form, card } of orders) await card.send(form); // one upload at a time
}

file.addEventListener("change", () => {
  take(file.files ?? []);
  file.value = ""; // so that the same file can be taken again
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
for (const end of ["dragleave", "drop"]) document.addEventListener(end, () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer?.files ?? []);
});
make.addEventListener("click", () => void submit());

try {
  await fillTargets(target);
} catch (error) {
  message.textContent = tell(error);
}
showClips();
const kept = location.hash.slice(1).split(",").filter((id) => /^[0-9a-f]{32}$/.test(id));
for (const [card, id] of kept.map((each) => /** @type {const} */ ([addCard(""), each]))) void card.follow(id);
