// The page /api: the endpoints of the OpenAPI document and the targets.

import { request, tell } from "./problem.js";

/**
 * @typedef {{description?: string}} Operation
 * @typedef {{paths: Record<string, Record<string, Operation>>}} OpenApi
 * @typedef {{targets: {id: string, display_name: string, manifest: string, reference: string}[]}} Targets
 */

/** @param {OpenApi} document_ */
function listEndpoints(document_) {
  const body = /** @type {HTMLElement} */ (document.getElementById("endpoints"));
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const row = body.appendChild(document.createElement("tr"));
      row.appendChild(document.createElement("td")).textContent = method.toUpperCase();
      row.appendChild(document.createElement("td")).appendChild(document.createElement("code")).textContent = path;
      row.appendChild(document.createElement("td")).textContent = operation.description ?? "";
    }
  }
}

/** @param {Targets} answer */
function listTargets(answer) {
  const list = /** @type {HTMLElement} */ (document.getElementById("targets"));
  if (answer.targets.length === 0) list.textContent = "None yet: make train makes one.";
  for (const target of answer.targets) {
    const link = list.appendChild(document.createElement("li")).appendChild(document.createElement("a"));
    link.href = target.manifest.slice(1); // relative to the page, wherever the service is mounted
    const face = link.appendChild(document.createElement("img"));
    face.src = target.reference.slice(1);
    face.alt = "";
    link.append(target.display_name);
  }
}

try {
  listEndpoints(await (await request("openapi.json")).json());
  listTargets(await (await request("targets")).json());
} catch (error) {
  /** @type {HTMLElement} */ (document.getElementById("problem")).textContent = tell(error);
}
