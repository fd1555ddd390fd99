// The targets to choose from.

import { request } from "./problem.js";

/**
 * Fill a list with the targets that are served. Throws an Error in words where there is none, or no answer.
 * @param {HTMLSelectElement} list
 * @returns {Promise<Map<string, string>>} id -> path of its picture, relative to the page
 */
export async function fillTargets(list) {
  /** @type {{default: string | null, targets: {id: string, display_name: string, reference: string}[]}} */
  const answer = await (await request("targets")).json();
  for (const each of answer.targets) list.add(new Option(each.display_name, each.id));
  if (answer.default) list.value = answer.default;
  if (answer.targets.length === 0) throw new Error("There is no target to play; make train makes one.");
  return new Map(answer.targets.map(({ id, reference }) => [id, reference.slice(1)]));
}
