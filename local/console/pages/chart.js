// How many events of each type on each day. A row is a type, so that no colour has to tell one type from another.

import { draw, make } from "./dom.js";

const DAYS = 14;
const CELL = 22;
const NAMES = 96; // pixels for the types' names
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Return the contents of a figure: the days up to the newest event. Days that are not loaded as a whole are hatched. */
export function chart(events, hasMore) {
  const days = daysUpTo(new Date(events[0].createdOn));
  const counted = countsOf(events, days);
  const most = Math.max(...[...counted.values()].flat());
  const oldest = new Date(events.at(-1).createdOn);
  const missing = hasMore ? days.filter((day) => day <= oldest).length : 0; // from the left
  const size = { width: NAMES + DAYS * CELL, height: (counted.size + 1) * CELL };
  const svg = draw("svg", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": label(counted, days, missing) });
  svg.append(hatching());
  [...counted].forEach(([type, row], y) => {
    svg.append(draw("text", { x: NAMES - 6, y: (y + 1) * CELL - 7, "text-anchor": "end" }, type));
    row.forEach((count, x) => svg.append(...cell(count, most, x, y, x < missing, `${type}, ${DAY.format(days[x])}: ${count}`)));
  });
  for (const x of [0, DAYS - 1]) {
    const place = { x: x ? size.width : NAMES, y: size.height - 6, "text-anchor": x ? "end" : "start" };
    svg.append(draw("text", place, DAY.format(days[x])));
  }
  const note = missing ? " Hatched days are not loaded, or not as a whole: show older events." : "";
  return [svg, make("figcaption", {}, `By type and day, of the ${events.length} events shown here.${note}`)];
}

function hatching() {
  const pattern = { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  return draw("defs", {}, draw("pattern", pattern, draw("line", { x1: 0, y1: 0, x2: 0, y2: 5 })));
}

/** Midnights of the reader's time zone. */
function daysUpTo(last) {
  return Array.from({ length: DAYS }, (_, x) =>
    new Date(last.getFullYear(), last.getMonth(), last.getDate() - (DAYS - 1 - x)),
  );
}

/** Return type → number of its events on each of the days; types in alphabetical order. */
function countsOf(events, days) {
  const columns = new Map(days.map((day, x) => [day.toDateString(), x]));
  const counted = new Map(events.map(({ type }) => type).sort().map((type) => [type, Array(DAYS).fill(0)]));
  for (const { type, createdOn } of events) {
    const x = columns.get(new Date(createdOn).toDateString());
    if (x !== undefined) counted.get(type)[x] += 1;
  }
  return counted;
}

function cell(count, most, x, y, partly, title) {
  const place = { x: NAMES + x * CELL + 1, y: y * CELL + 1, width: CELL - 2, height: CELL - 2, rx: 4 };
  const hatched = partly ? [draw("rect", { ...place, class: "hatched" })] : [];
  if (!count) return [draw("rect", { ...place, class: "empty" }), ...hatched];
  const middle = { x: place.x + place.width / 2, y: place.y + CELL - 8, "text-anchor": "middle" };
  return [
    draw(
      "g",
      { class: count > most / 2 ? "many" : "few" },
      draw("title", {}, title),
      draw("rect", place),
      draw("text", middle, count > 99 ? "99+" : count),
    ),
    ...hatched,
  ];
}

/** Return the chart as a text. */
function label(counted, days, missing) {
  const row = ([type, each]) => {
    const found = each.map((count, x) => count && `${count} on ${DAY.format(days[x])}`).filter(Boolean);
    return `${type}: ${found.join(", ") || "none in these days"}`;
  };
  const note = missing ? ` The days up to ${DAY.format(days[missing - 1])} are not loaded as a whole.` : "";
  return `Events by type and day. ${[...counted].map(row).join("; ")}.${note}`;
}
