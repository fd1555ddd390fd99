// What the service refuses, in its own words; where it wants a key, the key is asked for.

import { askKey } from "./key.js";

/** An answer that is no success; its message says what was wrong and what is expected. */
export class ProblemError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.name = "ProblemError";
    this.status = status;
  }
}

/**
 * fetch, with every refusal as a ProblemError and a service that does not answer as one of status 0.
 * @param {string} path relative to the page
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function request(path, init) {
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ProblemError(0, "The service does not answer. Is it running?");
  }
  if (answer.status === 401 && (await askKey())) return request(path, init);
  if (!answer.ok) throw new ProblemError(answer.status, await readProblem(answer));
  return answer;
}

/**
 * The words of an application/problem+json answer, or the status where it is none.
 * @param {Response} answer
 * @returns {Promise<string>}
 */
async function readProblem(answer) {
  const type = answer.headers.get("content-type") ?? "";
  if (!type.startsWith("application/problem+json")) return `The service answered ${answer.status}.`;
  /** @type {{title: string, detail: string, expected?: string}} */
  const problem = await answer.json();
  const expected = problem.expected ? ` Expected: ${problem.expected}` : "";
  return `${problem.title}. ${problem.detail}${expected}`;
}

/**
 * The message of anything thrown.
 * @param {unknown} error
 * @returns {string}
 */
export function tell(error) {
  return error instanceof Error ? error.message : String(error);
}
