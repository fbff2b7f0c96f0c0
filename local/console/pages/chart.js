"use strict";
// How many events of each type on each day: a row for a type, so that no colour has to tell one type from another.

const DAYS = 14;
const CELL = 16;
const NAMES = 96; // pixels for the types' names
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A figure of events: the days up to that of the newest one. */
function chart(events) {
  const days = daysUpTo(new Date(events[0].createdOn));
  const counts = countsOf(events, days);
  const most = Math.max(...[...counts.values()].flat());
  const size = { width: NAMES + DAYS * CELL, height: (counts.size + 1) * CELL };
  const view = `0 0 ${size.width} ${size.height}`;
  const svg = draw("svg", { viewBox: view, role: "img", "aria-label": told(counts, days) });
  [...counts].forEach(([type, row], y) => {
    svg.append(draw("text", { x: NAMES - 4, y: (y + 1) * CELL - 4, "text-anchor": "end" }, type));
    row.forEach((count, x) => svg.append(cell(count, most, x, y, `${type}, ${DAY.format(days[x])}: ${count}`)));
  });
  for (const x of [0, DAYS - 1]) {
    const place = { x: NAMES + (x ? size.width - NAMES : 0), y: size.height - 4, "text-anchor": x ? "end" : "start" };
    svg.append(draw("text", place, DAY.format(days[x])));
  }
  return svg;
}

/** Midnights of the reader's time zone. */
function daysUpTo(last) {
  return Array.from({ length: DAYS }, (_, x) =>
    new Date(last.getFullYear(), last.getMonth(), last.getDate() - (DAYS - 1 - x)),
  );
}

/** Type → number of its events on each of the days; types in the order of the alphabet. */
function countsOf(events, days) {
  const columns = new Map(days.map((day, x) => [day.toDateString(), x]));
  const counts = new Map(events.map(({ type }) => type).sort().map((type) => [type, Array(DAYS).fill(0)]));
  for (const { type, createdOn } of events) {
    const x = columns.get(new Date(createdOn).toDateString());
    if (x !== undefined) counts.get(type)[x] += 1;
  }
  return counts;
}

function cell(count, most, x, y, title) {
  const place = { x: NAMES + x * CELL + 1, y: y * CELL + 1, width: CELL - 2, height: CELL - 2, rx: 2 };
  if (!count) return draw("rect", { ...place, class: "empty" });
  const number = { x: place.x + place.width / 2, y: place.y + CELL - 5, "text-anchor": "middle" };
  return draw(
    "g",
    { class: count > most / 2 ? "many" : "few" },
    draw("title", {}, title),
    draw("rect", place),
    draw("text", number, count > 99 ? "99+" : count),
  );
}

/** The same for who does not see it. */
function told(counts, days) {
  const row = ([type, each]) => {
    const told = each.map((count, x) => count && `${count} on ${DAY.format(days[x])}`).filter(Boolean);
    return `${type}: ${told.join(", ") || "none in these days"}`;
  };
  return `Events by type and day. ${[...counts].map(row).join("; ")}.`;
}
