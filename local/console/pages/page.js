"use strict";
// What users.js and chart.js are made of: elements, numbers and times.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with that id. */
const $ = (id) => document.getElementById(id);

/** A new element; children are elements or texts. Text never becomes markup. */
const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** JSON with its numbers digit by digit, where the browser can: an orderId may be longer than a double is exact. */
const parsed = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && JSON.rawJSON && context && String(value) !== context.source
      ? JSON.rawJSON(context.source)
      : value,
  );

/** A value as a person reads it: a text bare, everything else as JSON. */
const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** A moment in the reader's own time zone; `title` has it in UTC, as the API gives it. */
const time = (iso) => make("time", { datetime: iso, title: iso }, MOMENT.format(new Date(iso)));
