// Refusals and the explanations of their codes, for the pages Refusals and Live.

import { ask } from "./api.js";
import { make } from "./dom.js";

const PAGES = 50; // of 100 entries

/** Return the explanations of the codes, as docs/codes.md has them: code → {means, do}. */
export const explanations = () => ask("codes.json").catch(() => ({}));

/** Return all refusals of the last 30 days: {hour, code, type, field, count, lastRequestId}. */
export async function allRefusals(pages = PAGES) {
  const found = [];
  let cursor = "";
  for (let page = 0; page < pages && cursor !== undefined; page++) {
    const answer = await ask(`v1/refusals?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    found.push(...answer.refusals);
    cursor = answer.cursor;
  }
  return found;
}

/** Return what a code means and what to do, as elements. */
export function explained(code, explanation) {
  if (!explanation) return [make("p", { class: "soft" }, `docs/codes.md explains ${code}.`)];
  const text = (words) => words.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
  return [make("p", {}, ...text(explanation.means)), make("p", { class: "do" }, make("b", {}, "To do: "), ...text(explanation.do))];
}

export const where = ({ type, field }) => [type && `type ${type}`, field && `field ${field}`].filter(Boolean).join(" · ") || "the whole request";
