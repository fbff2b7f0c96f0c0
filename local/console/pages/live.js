// Events as they arrive on the local bus, and what the API refuses.

import { advice, ask, longer, Refused } from "./api.js";
import { allRefusals, explained, explanations, where } from "./codes.js";
import { $, complain, make, sleep, time } from "./dom.js";
import { icon, lineOf } from "./words.js";

const PAUSE = 1000; // milliseconds
const SHOWN = 200;
const HOUR = 3600_000;

let paused = false;
let next = 0;
let known = new Map(); // count of each refusal of this hour, by place
let first = true;
let arrived = 0;

function itemOf({ "detail-type": kind, detail }) {
  const { account, userId, type, createdOn, erasedOn } = detail;
  const line = kind === "UserErased" ? make("span", { class: "line" }, make("b", {}, "User erased")) : lineOf(detail);
  const user = make("a", { href: `users#${userId}` }, make("code", {}, userId));
  return make(
    "li",
    { class: first ? "" : "new", "data-type": type ?? kind },
    icon(type),
    line,
    make("span", { class: "from" }, user, " ", make("span", { class: "soft" }, account)),
    time(createdOn ?? erasedOn),
  );
}

function showEvents(events) {
  $("stream").prepend(...events.map(itemOf).reverse());
  while ($("stream").children.length > SHOWN) $("stream").lastChild.remove();
  arrived += events.length;
  $("count").textContent = arrived || "";
  $("none").hidden = arrived > 0;
}

/** Show the refusals of this hour, those that grew since the last read first. */
function showRefusals(refusals, codes) {
  const hour = Math.floor(Date.now() / HOUR) * HOUR;
  const now = refusals.filter((each) => Date.parse(each.hour) >= hour);
  const grown = now.filter((each) => each.count !== known.get(placeOf(each)));
  $("refused-none").hidden = now.length > 0;
  $("refused-count").textContent = now.reduce((sum, { count }) => sum + count, 0) || "";
  for (const each of grown) {
    document.getElementById(placeOf(each))?.remove();
    $("refusals").prepend(refusalOf(each, codes[each.code], !first));
  }
  known = new Map(now.map((each) => [placeOf(each), each.count]));
  for (const item of [...$("refusals").children]) if (!known.has(item.id)) item.remove();
}

const placeOf = ({ code, type, field }) => ["refusal", code, type, field].join(" ");

const refusalOf = (refusal, explanation, isNew) =>
  make(
    "li",
    { id: placeOf(refusal), class: `refusal ${isNew ? "new" : ""}` },
    make("h3", {}, make("span", { class: "count" }, refusal.count), " ", make("code", {}, refusal.code)),
    make("p", { class: "soft" }, where(refusal)),
    ...explained(refusal.code, explanation),
  );

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Continue" : "Pause";
});

const codes = await explanations();
let pause = PAUSE;
for (;;) {
  if (!document.hidden && !paused) {
    try {
      const answer = await ask(`live/events?after=${next}`);
      if (answer.next < next) next = 0; // the stack was started again
      else {
        next = answer.next;
        showEvents(answer.events);
      }
      showRefusals(await allRefusals(1), codes);
      complain("");
      first = false;
      pause = PAUSE;
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      complain(advice(problem));
      pause = longer(pause, problem);
    }
  }
  await sleep(pause);
}
