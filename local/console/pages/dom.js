// Elements, times and copy buttons: what all pages are made of.

const SVG = "http://www.w3.org/2000/svg";
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
export const ZONE = MOMENT.resolvedOptions().timeZone;

/** Return the element of the page with that id. */
export const $ = (id) => document.getElementById(id);

/** Return a new element. Children are elements or texts; text never becomes markup. */
export const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
export const draw = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return a button that does something. */
export function button(text, attributes, action) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", () => action(element));
  return element;
}

export const copyButton = (what, text) =>
  button("Copy", { class: "small", "aria-label": `Copy ${what}` }, async (element) => {
    const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    element.textContent = copied ? "Copied" : "Not copied";
    announce(copied ? `${what} copied` : `The browser did not let this page copy ${what}`);
    setTimeout(() => (element.textContent = "Copy"), 2000);
  });

/** Say something to a screen reader. */
export const announce = (text) => ($("news").textContent = text);

/** Show a problem of the page, or none. The same text is not announced again. */
export function complain(text) {
  if ($("problem").textContent !== text) $("problem").textContent = text;
}

const inFormat = (format) => (iso) => make("time", { datetime: iso, title: iso }, format.format(new Date(iso)));

/** Return a moment in the reader's time zone; `title` has it in UTC, as the API sent it. */
export const time = inFormat(MOMENT);
export const day = inFormat(DAY);

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
