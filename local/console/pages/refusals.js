// What the API refused, by code, as the codes' page explains it.

import { advice, longer, Refused } from "./api.js";
import { allRefusals, explained, explanations, where } from "./codes.js";
import { $, complain, copyButton, make, sleep, time } from "./dom.js";

const PAUSE = 10_000; // milliseconds
const HOUR = 3600_000;

/** Return the refusals by code, most frequent first: [{code, count, places: [{type, field, count, hour, lastRequestId}]}]. */
function byCode(refusals) {
  const codes = new Map();
  for (const { code, type, field, count, hour, lastRequestId } of refusals) {
    const places = codes.get(code) ?? codes.set(code, new Map()).get(code);
    const place = places.get(`${type} ${field}`) ?? { type, field, count: 0, hour, lastRequestId }; // newest hour first
    place.count += count;
    places.set(`${type} ${field}`, place);
  }
  const most = (a, b) => b.count - a.count;
  const sum = (places) => places.reduce((total, { count }) => total + count, 0);
  return [...codes].map(([code, found]) => ({ code, count: sum([...found.values()]), places: [...found.values()].sort(most) })).sort(most);
}

function cardOf({ code, count, places }, explanation) {
  const placeOf = (place) =>
    make(
      "li",
      {},
      make("b", { class: "count" }, `${place.count} ×`),
      make("span", {}, where(place)),
      make("span", { class: "soft" }, "last in the hour of ", time(place.hour)),
      ...(place.lastRequestId
        ? [make("span", { class: "id" }, make("code", {}, place.lastRequestId), copyButton("request id", place.lastRequestId))]
        : []),
    );
  return make(
    "li",
    { class: "card refusal" },
    make("h2", {}, make("span", { class: "count" }, count), " ", make("code", {}, code)),
    ...explained(code, explanation),
    make("ul", { class: "places" }, ...places.map(placeOf)),
  );
}

const codes = await explanations();
let refusals = [];
const showAll = () => {
  const since = Date.now() - Number($("hours").value) * HOUR;
  const found = byCode(refusals.filter(({ hour }) => Date.parse(hour) + HOUR > since));
  $("refusals").replaceChildren(...found.map((each) => cardOf(each, codes[each.code])));
  $("none").hidden = found.length > 0;
};
$("hours").addEventListener("change", showAll);
let pause = PAUSE;
let before = "";
for (;;) {
  if (!document.hidden) {
    try {
      refusals = await allRefusals();
      complain("");
      if (before !== (before = JSON.stringify(refusals)) || !refusals.length) showAll();
      pause = PAUSE;
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      complain(problem.status === 404 ? "This API does not list refusals: it is older than version 1.1." : advice(problem));
      pause = longer(pause, problem);
    }
  }
  await sleep(pause);
}
