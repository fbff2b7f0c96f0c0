// One user, kept up to date. The user's address is behind the # of this page's address, which no server sees.

import { advice, ask, longer, Refused } from "./api.js";
import { chart } from "./chart.js";
import { $, announce, button, complain, copyButton, day, make, sleep, time, ZONE } from "./dom.js";
import { icon, lineOf, list, many, money, sentence, shown, valueOf } from "./words.js";

const PAUSE = 1000; // milliseconds between two reads of the timeline
const SELDOM = 10; // reads of the timeline for each read of the profile, which may change without an event
const PAGE = 50;
const ALL = 100; // events of a page of the download
const TAGS = 12;
const RECENT = 8;
const IS_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const OF_THE_SYSTEM = {
  createdOn: "Created",
  isCustomer: "Customer",
  numberOfPurchases: "Purchases",
  totalPurchasesValue: "Value of all purchases",
  lastPurchaseValue: "Value of the last purchase",
  lastPurchaseDate: "Last purchase",
  numberOfRefunds: "Refunds",
  totalRefundsValue: "Value of all refunds",
  lastRefundDate: "Last refund",
  lastEmailOpenDate: "Last email open",
};

let watched; // the user on show: {who, path, id, events, cursor, reads, stale}. Answers for another user are dropped.

// --- Watching --------------------------------------------------------------------------------------

function show(who) {
  complain("");
  $("user").hidden = $("missing").hidden = true;
  $("timeline").replaceChildren();
  $("nobody").hidden = Boolean(who);
  $("who").value = who;
  watched = { who, path: `v1/user/${encodeURIComponent(who)}`, events: [], reads: 0 };
  if (who) watch(watched);
  else showRecent();
}

async function watch(mine) {
  let pause = PAUSE;
  while (watched === mine) {
    if (!document.hidden) {
      try {
        await read(mine);
        if (watched !== mine) return;
        complain("");
        pause = PAUSE;
      } catch (problem) {
        if (!(problem instanceof Refused)) throw problem;
        if (watched !== mine) return;
        if (problem.status === 404) showMissing(mine);
        else complain(advice(problem));
        pause = longer(pause, problem);
      }
    }
    await sleep(pause);
  }
}

async function read(mine) {
  const query = filtered();
  const page = await ask(`${mine.path}/events?limit=${PAGE}${query}`);
  if (watched !== mine || query !== filtered()) return;
  const added = add(mine, page);
  if (added.length && mine.id) announce(`New: ${added.map((event) => sentence(event).title).join(", ")}`);
  if (added.length || !mine.id || mine.anew) showEvents(mine, mine.id && !mine.anew ? added : []);
  mine.anew = false;
  if (added.length || mine.reads++ % SELDOM === 0) mine.stale = true;
  if (!mine.stale) return;
  const profile = await ask(mine.path);
  if (watched !== mine) return;
  if (mine.id && mine.id !== profile._id) return show(mine.who); // the address has another owner now
  if (!mine.id) remember(profile._id);
  const text = JSON.stringify(profile);
  if (text !== mine.profile) showProfile(profile); // what was opened stays open
  Object.assign(mine, { id: profile._id, profile: text, stale: false });
  $("user").hidden = false;
  $("missing").hidden = true;
}

/** Add the first page to the events. Return the events that are new here. */
function add(mine, page) {
  const known = new Set(mine.events.map(key));
  const added = page.events.filter((event) => !known.has(key(event)));
  if (added.length === page.events.length) {
    // The first read, or so many are new that there may be more between: begin anew.
    mine.events = page.events;
    mine.cursor = page.cursor;
  } else {
    mine.events = [...added, ...mine.events].sort((a, b) => Date.parse(b.createdOn) - Date.parse(a.createdOn));
  }
  return added;
}

const key = ({ _id, createdOn }) => `${createdOn} ${_id}`;

async function showOlder() {
  const mine = watched;
  const { cursor } = mine;
  $("older").disabled = true;
  try {
    const page = await ask(`${mine.path}/events?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}${filtered()}`);
    if (watched !== mine || mine.cursor !== cursor) return;
    mine.events.push(...page.events);
    mine.cursor = page.cursor;
    showEvents(mine);
    announce(`${page.events.length} older events`);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    complain(advice(problem));
  } finally {
    $("older").disabled = false;
  }
}

// --- Filtering -------------------------------------------------------------------------------------

/** Return the filter as a query. A day is the reader's, and `to` is a day that is still included. */
function filtered() {
  const midnight = (text, days) => {
    const [year, month, day] = text.split("-").map(Number);
    return new Date(year, month - 1, day + days).toISOString();
  };
  const query = new URLSearchParams();
  if ($("type").value) query.set("type", $("type").value);
  const chosen = (id) => $(id).value && $(id).validity.valid; // while a year is typed, it is the year 2
  if (chosen("from")) query.set("from", midnight($("from").value, 0));
  if (chosen("to")) query.set("to", midnight($("to").value, 1));
  return query.size ? `&${query}` : "";
}

function filter() {
  if (!watched?.who) return;
  Object.assign(watched, { events: [], cursor: undefined, anew: true });
  read(watched).catch((problem) => complain(advice(problem)));
}

// --- One user --------------------------------------------------------------------------------------

function showMissing(mine) {
  Object.assign(mine, { id: undefined, profile: undefined, events: [], cursor: undefined, reads: 0, stale: true });
  $("user").hidden = true;
  $("timeline").replaceChildren();
  const creatable = mine.who.includes("@") || IS_ID.test(mine.who);
  $("missing-title").textContent = `There is no user ${mine.who}`;
  $("missing-text").textContent = creatable
    ? "No user of this account has this address or _id. If one is created, it shows here by itself."
    : "Type a whole email address, or the _id of a user.";
  $("create").hidden = !creatable;
  $("missing").hidden = false;
  complain("");
}

async function create() {
  const { who, path } = watched;
  const [url, method, body] = IS_ID.test(who) ? [`${path}?upsert=true`, "PUT", {}] : ["v1/user/", "POST", { email: who }];
  try {
    await ask(url, { method, body: JSON.stringify(body) });
    show(who);
  } catch (problem) {
    complain(problem.message);
  }
}

function showProfile({ _id, email, tags = [], ...rest }) {
  const name = [rest.firstname, rest.lastname].filter((each) => typeof each === "string" && each).join(" ");
  $("name").textContent = email ?? (name || "Anonymous user");
  $("initial").textContent = (name || email || "?")[0].toUpperCase();
  const badges = [!email && "Anonymous", rest.isCustomer === true && "Customer"].filter(Boolean);
  $("identity").replaceChildren(
    ...(email && name ? [make("span", {}, name)] : []),
    ...badges.map((each) => make("span", { class: "badge" }, each)),
    make("span", { class: "id" }, make("code", {}, _id), copyButton("_id", _id)),
  );
  showFigures(rest);
  const kept = Object.entries(OF_THE_SYSTEM).filter(([key_]) => key_ in rest);
  const attributes = Object.entries(rest).filter(([key_]) => !(key_ in OF_THE_SYSTEM));
  const kind = (key_) => (/(On|Date)$/.test(key_) ? time : valueOf);
  $("profile").replaceChildren(
    make("h4", {}, "Tags"),
    tagsOf(tags),
    make("h4", {}, "Attributes"),
    attributes.length ? list(attributes.map(([key_, value]) => [key_, valueOf(value)])) : make("p", { class: "soft" }, "None"),
    make("h4", {}, "Kept by the system"),
    list(kept.map(([key_, label]) => [label, kind(key_)(rest[key_])])),
  );
}

function showFigures({ numberOfPurchases = 0, totalPurchasesValue = 0, numberOfRefunds, totalRefundsValue = 0, lastPurchaseDate, lastEmailOpenDate }) {
  const figures = [
    ["Purchases", shown(numberOfPurchases)],
    ["Spent", money(totalPurchasesValue)],
    ...(numberOfRefunds ? [["Refunds", `${shown(numberOfRefunds)} · ${money(totalRefundsValue)}`]] : []),
    ["Last purchase", lastPurchaseDate ? day(lastPurchaseDate) : "never"],
    ["Last email open", lastEmailOpenDate ? day(lastEmailOpenDate) : "never"],
  ];
  $("figures").replaceChildren(
    ...figures.map(([name, value]) => make("li", {}, make("span", { class: "soft" }, name), make("strong", {}, value))),
  );
}

function tagsOf(tags) {
  if (!tags.length) return make("p", { class: "soft" }, "None");
  const items = tags.map((tag) => make("li", {}, tag));
  const element = make("ul", { class: "tags" }, ...items.slice(0, TAGS));
  const rest = items.slice(TAGS);
  if (rest.length)
    element.append(make("li", {}, button(`Show ${rest.length} more`, { class: "small" }, (it) => it.parentElement.replaceWith(...rest))));
  return element;
}

function showEvents({ events, cursor }, added = []) {
  $("none").hidden = events.length > 0;
  $("none").textContent = filtered()
    ? "No event of this user matches the filter."
    : "No event of this user is stored. Send one: it shows here within two seconds.";
  $("chart").hidden = events.length === 0;
  $("older").hidden = !cursor;
  if (events.length) $("chart").replaceChildren(...chart(events, Boolean(cursor)));
  offer(events);
  const timeline = $("timeline");
  events.forEach((event, index) => {
    const place = timeline.children[index];
    // An item that is there stays unchanged: it may be open, or have the focus.
    if (place?.dataset.key !== key(event)) timeline.insertBefore(itemOf(event, added.includes(event)), place ?? null);
  });
  while (timeline.children.length > events.length) timeline.lastChild.remove();
}

/** Offer the types of the events in the filter. */
function offer(events) {
  const offered = new Set([...$("type").options].map((option) => option.value));
  for (const { type } of events) {
    if (!offered.has(type)) $("type").append(make("option", {}, type));
    offered.add(type);
  }
}

function itemOf(event, isNew) {
  const { _id, type, payload, createdOn, receivedOn } = event;
  const json = JSON.stringify(payload, null, 2);
  const id = make("span", {}, make("code", {}, _id), copyButton("_id", _id));
  const { wrong } = sentence(event);
  const warnings = event.warnings ?? (wrong ? [{ message: `${wrong}: it is not a number such as 59.90.` }] : []);
  return make(
    "li",
    { "data-key": key(event), "data-type": type, class: isNew ? "new" : "" },
    make(
      "details",
      {},
      make("summary", {}, icon(type), lineOf(event), time(createdOn)),
      ...warnings.map(({ message, field }) => make("p", { class: "note bad" }, field ? `${field}: ${message}` : message)),
      list([["Type", type], ["_id", id], ["Happened", createdOn], ...(receivedOn ? [["Received", receivedOn]] : [])]),
      make("div", { class: "json" }, copyButton("JSON", json), make("pre", { tabindex: 0, role: "group", "aria-label": "Payload" }, json)),
    ),
  );
}

// --- Download --------------------------------------------------------------------------------------

/** Save the profile and the whole timeline as JSON: the answer to a person who asks for their data. */
async function download() {
  const { id, who } = watched;
  const path = `v1/user/${id}`;
  $("download").disabled = true;
  try {
    const profile = await ask(path);
    const events = [];
    let cursor = "";
    do {
      const page = await ask(`${path}/events?limit=${ALL}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
      events.push(...page.events);
      cursor = page.cursor;
      announce(`${events.length} events loaded`);
    } while (cursor);
    const file = new Blob([JSON.stringify({ downloadedOn: new Date().toISOString(), profile, events }, null, 2)], { type: "application/json" });
    const link = make("a", { href: URL.createObjectURL(file), download: `user-${id}.json` });
    link.click();
    URL.revokeObjectURL(link.href);
    announce(`Profile and ${events.length} events of ${who} downloaded`);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    complain(advice(problem));
  } finally {
    $("download").disabled = false;
  }
}

// --- Recent users ----------------------------------------------------------------------------------

/** Keep the _id of a user in this browser. It keeps no address and nothing else. */
function remember(id) {
  localStorage.setItem("recent", JSON.stringify([...new Set([id, ...remembered()])].slice(0, RECENT)));
}

const forget = (id) => localStorage.setItem("recent", JSON.stringify(remembered().filter((each) => each !== id)));
const remembered = () => JSON.parse(localStorage.getItem("recent") ?? "[]");

/** Show the users of the last events on the local bus, then those that this browser looked at. */
async function showRecent() {
  const live = document.querySelector('nav a[href="live"]') ? await ask("live/events?after=0").catch(() => {}) : undefined;
  const ofEvents = live?.events.filter(({ detail }) => detail.account === live.account).map(({ detail }) => detail.userId) ?? [];
  const ids = [...new Set([...ofEvents.reverse(), ...remembered()])].slice(0, RECENT);
  const found = await Promise.all(ids.map((id) => ask(`v1/user/${id}`).catch(() => forget(id))));
  $("recent").replaceChildren(...found.filter(Boolean).map(personOf));
  $("recent-none").hidden = $("recent").children.length > 0;
}

function personOf({ _id, email, firstname, lastname, numberOfPurchases }) {
  const name = [firstname, lastname].filter((each) => typeof each === "string" && each).join(" ");
  const about = [email && name, numberOfPurchases && many(numberOfPurchases, "purchase"), !email && _id].filter(Boolean).join(" · ");
  return make(
    "li",
    {},
    make(
      "a",
      { href: `#${encodeURIComponent(email ?? _id)}` },
      make("span", { class: "avatar", "aria-hidden": "true" }, (name || email || "?")[0].toUpperCase()),
      make("span", { class: "line" }, make("b", {}, email ?? (name || "Anonymous user")), " ", make("span", { class: "details" }, about)),
    ),
  );
}

// --- Starting --------------------------------------------------------------------------------------

function fromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const who = $("who").value.trim();
  if (who === fromAddress()) show(who);
  else location.hash = encodeURIComponent(who);
});
$("older").addEventListener("click", showOlder);
$("create").addEventListener("click", create);
$("download").addEventListener("click", download);
$("filter").addEventListener("change", filter);
$("filter").addEventListener("reset", () => setTimeout(filter));
$("filter").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", () => show(fromAddress()));
$("zone").textContent = `Newest first, by the clock of ${ZONE}. The page refreshes by itself.`;
show(fromAddress());
