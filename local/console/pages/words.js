// Values and events as a person reads them.

import { button, draw, make } from "./dom.js";

const LONG = 240; // characters of a text that is shown at once
const LARGEST = 1e15; // a total below it counts
const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;
const LOOKS_LIKE_JSON = /^(true|false|null|-?\d.*|[[{"].*|\s.*|.*\s|)$/s;
const MONEY = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2, useGrouping: false });

/** Return the text of a value: a string bare, everything else as JSON. */
export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Return a value as an element. A string that could be another type is in quotes, and so is an empty one. */
export function valueOf(value) {
  if (typeof value !== "string") return make("code", { class: "value" }, JSON.stringify(value));
  const text = LOOKS_LIKE_JSON.test(value) ? JSON.stringify(value) : value;
  const element = make("span", { class: "text" }, text.slice(0, LONG));
  if (text.length <= LONG) return element;
  const rest = button(`… Show all ${text.length} characters`, { class: "small" }, () => element.replaceChildren(text));
  element.append(" ", rest);
  return element;
}

export const list = (pairs) =>
  make("dl", {}, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

const number = (value) => Number(value?.rawJSON ?? value);

/** Return whether the API adds a total to the sums: a number or a text of one, below 10^15. */
export const counts = (total) =>
  (typeof total === "string" ? NUMBER.test(total) : typeof total === "number" || total?.rawJSON !== undefined) &&
  Math.abs(number(total)) < LARGEST;

export const money = (value, currency) => [MONEY.format(number(value)), currency].filter(Boolean).join(" ");

/** Return the scalars of an order, which a server nests under `generic` and a browser does not. */
const flat = ({ generic, ...rest }) => (generic && typeof generic === "object" ? { ...rest, ...generic } : { generic, ...rest });
export const many = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;
const pairs = (payload) =>
  Object.entries(payload)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${shown(value)}`)
    .join(" · ");

function order(payload) {
  const { total, currency, items } = flat(payload);
  const amount = total === undefined || total === null || !counts(total) ? undefined : money(total, currency);
  return [amount, Array.isArray(items) && many(items.length, "item")].filter(Boolean).join(" · ");
}

/** Type → its icon, and what the event says: a title and details. */
const TYPES = {
  confirmation: ["bag", (it) => [`Order ${shown(flat(it).orderId)}`, order(it)]],
  refund: ["back", (it) => [`Refund ${shown(flat(it).refundId)}`, [order(it), `of order ${shown(flat(it).orderId)}`].filter(Boolean).join(" · ")]],
  emailopen: ["mail", (it) => ["Opened an email", pairs(it)]],
  login: ["door", (it) => ["Logged in", pairs(it)]],
  update: ["pen", (it) => ["Changed the profile", pairs(it)]],
  viewitem: ["eye", ({ itemId, ...rest }) => [`Viewed item ${shown(itemId)}`, pairs(rest)]],
  viewcategory: ["eye", ({ category, ...rest }) => [`Viewed category ${shown(category)}`, pairs(rest)]],
  search: ["lens", ({ query, ...rest }) => [`Searched for “${shown(query)}”`, pairs(rest)]],
  addtocart: ["cart", ({ itemId, quantity, ...rest }) => [`Added ${quantity ? `${shown(quantity)} × ` : ""}${shown(itemId)} to the cart`, pairs(rest)]],
  addtowishlist: ["heart", ({ prodId, ...rest }) => [`Added ${shown(prodId)} to the wish list`, pairs(rest)]],
  checkout: ["pay", ({ step, items, ...rest }) => ["Checkout", [step !== undefined && `step ${shown(step)}`, Array.isArray(items) && many(items.length, "item"), pairs(rest)].filter(Boolean).join(" · ")]],
  generic: ["star", ({ generic, ...rest }) => { const { event_name, ...more } = { ...rest, ...generic }; return [shown(event_name), pairs(more)]; }],
  event: ["star", ({ event_name, ...rest }) => [shown(event_name), pairs(rest)]],
};

const ICONS = {
  bag: "M3 6h10l-1 8H4zM5.5 6a2.5 2.5 0 0 1 5 0",
  back: "M6 3 3 6l3 3M3 6h6a4 4 0 0 1 0 8H6",
  mail: "M2 4h12v9H2zM2 4.5l6 5 6-5",
  door: "M9 2h4v12H9M2 8h7M6.5 5 9.5 8l-3 3",
  pen: "M3 13l1-3.5L11 2.5l2.5 2.5-7 7z",
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  lens: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.5 10.5 14 14",
  cart: "M1.5 2.5H3l1.5 8h7l1.5-6H3.5M5.5 13.5h.01M10.5 13.5h.01",
  heart: "M8 13.5S2 10 2 6a3 3 0 0 1 6-1 3 3 0 0 1 6 1c0 4-6 7.5-6 7.5z",
  pay: "M1.5 3.5h13v9h-13zM1.5 6.5h13M4 10h3",
  star: "M8 2v4M8 10v4M2 8h4M10 8h4",
};

/** Return {title, details, wrong} of an event; `wrong` says that a total does not count, or that there are warnings. */
export function sentence({ type, payload = {}, warnings = [] }) {
  const { total } = flat(payload);
  const isOrder = type === "confirmation" || type === "refund";
  const isCounted = !isOrder || total === undefined || total === null || counts(total);
  const wrong = isCounted ? warnings.length && many(warnings.length, "warning") : `Total ${JSON.stringify(total)} is not counted`;
  const [title, details] = (TYPES[type]?.[1] ?? ((it) => [type, pairs(it)]))(payload);
  return { title, details, wrong };
}

export function icon(type) {
  const path = draw("path", { d: ICONS[TYPES[type]?.[0]] ?? ICONS.star });
  return make("span", { class: `icon ${TYPES[type]?.[0] ?? "star"}` }, draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, path));
}

/** Return the line of an event, for a list. */
export function lineOf(event) {
  const { title, details, wrong } = sentence(event);
  return make(
    "span",
    { class: "line" },
    make("b", {}, title),
    ...(details ? [" ", make("span", { class: "details" }, details)] : []),
    ...(wrong ? [" ", make("span", { class: "wrong" }, wrong)] : []),
  );
}
