"use strict";
// One user, kept fresh. Who it is stands behind the # of this page's address, which no server sees.

const PAUSE = 1000; // milliseconds from one look at the timeline to the next
const SELDOM = 10; // looks at the timeline for one at what may change without an event
const LONGEST_PAUSE = 30_000; // while the API refuses, because it counts what it refuses
const PAGE = 50;
const KEPT_BY_SYSTEM = {
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

let watched; // the user on show: {who, path, id, events, cursor, looks, stale}. Answers for another one come too late.

// --- Asking the API --------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, body, retryAfter) {
    super(body?.errors?.[0]?.description ?? "The answer is not the API's.");
    Object.assign(this, { status, retryAfter });
  }
}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(`v1${path}`);
  } catch {
    throw new Refused(0);
  }
  const body = await answer.text().then(parsed).catch(() => undefined);
  if (answer.ok && body) return body;
  throw new Refused(answer.status, body, answer.headers.get("Retry-After"));
}

/** What to do about it. */
function advice({ status, message }, who) {
  if (status === 0)
    return "The server of this page is gone. Start `make run` or `make console` again; this page goes on by itself.";
  if (status === 401) return "The API does not accept the key. Start `make console` again with one that it accepts.";
  if (status === 404) return `This account has no user ${who}. If one is created, it shows here by itself.`;
  if (status === 429) return "The API has too many requests. This page waits, and goes on by itself.";
  return `${message} This page goes on by itself.`;
}

// --- Watching --------------------------------------------------------------------------------------

function show(who) {
  clear();
  watched = { who, path: `/user/${encodeURIComponent(who)}`, events: [], looks: 0 };
  $("who").value = who;
  if (who) watch(watched);
}

async function watch(mine) {
  let pause = PAUSE;
  while (watched === mine) {
    if (!document.hidden) {
      try {
        await look(mine);
        if (watched !== mine) return;
        complain("");
        pause = PAUSE;
      } catch (problem) {
        if (!(problem instanceof Refused)) throw problem;
        if (watched !== mine) return;
        if (problem.status === 404) forget(mine);
        complain(advice(problem, mine.who));
        pause = Math.min(LONGEST_PAUSE, Math.max(2 * pause, 1000 * problem.retryAfter));
      }
    }
    await sleep(pause);
  }
}

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Of the whole account, so whoever is on show; an API of before 1.1 has none. */
async function watchRefusals() {
  for (;;) {
    if (!document.hidden) {
      try {
        showRefusals((await ask("/refusals?limit=20")).refusals);
      } catch (problem) {
        if (!(problem instanceof Refused)) throw problem;
        if (problem.status === 404) return;
      }
    }
    await sleep(SELDOM * PAUSE);
  }
}

async function look(mine) {
  const page = await ask(`${mine.path}/events?limit=${PAGE}`);
  if (watched !== mine) return;
  const added = add(mine, page);
  if (added.length && mine.id) $("news").textContent = `New: ${added.map(({ type }) => type).join(", ")}`;
  if (added.length || !mine.id) showEvents(mine, mine.id ? added : []);
  if (added.length || mine.looks++ % SELDOM === 0) mine.stale = true;
  if (!mine.stale) return;
  const profile = await ask(mine.path);
  if (watched !== mine) return;
  if (mine.id && mine.id !== profile._id) return show(mine.who); // the address has another owner now
  Object.assign(mine, { id: profile._id, stale: false });
  showProfile(profile);
  $("user").hidden = false;
  $("nobody").hidden = true;
}

/** Takes in the first page; the events of it that are new here. */
function add(mine, page) {
  const known = new Set(mine.events.map(key));
  const added = page.events.filter((event) => !known.has(key(event)));
  if (added.length === page.events.length) {
    // The first look, or so many are new that there may be more between: begin anew.
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
    const page = await ask(`${mine.path}/events?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`);
    if (watched !== mine || mine.cursor !== cursor) return;
    mine.events.push(...page.events);
    mine.cursor = page.cursor;
    showEvents(mine);
    $("news").textContent = `${page.events.length} older events`;
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    complain(advice(problem, mine.who));
  } finally {
    $("older").disabled = false;
  }
}

// --- Showing ---------------------------------------------------------------------------------------

function complain(text) {
  if ($("problem").textContent !== text) $("problem").textContent = text; // or it is read aloud each second
}

function clear() {
  complain("");
  $("user").hidden = true;
  $("nobody").hidden = false;
  $("timeline").replaceChildren();
}

function forget(mine) {
  Object.assign(mine, { id: undefined, events: [], cursor: undefined, looks: 0, stale: true });
  clear();
}

function showProfile({ _id, email, tags, ...rest }) {
  $("name").textContent = email ?? "Anonymous user";
  const kept = Object.entries(KEPT_BY_SYSTEM).filter(([name]) => name in rest);
  const attributes = Object.entries(rest).filter(([name]) => !(name in KEPT_BY_SYSTEM));
  const kind = (name) => (/(On|Date)$/.test(name) ? time : shown);
  $("profile").replaceChildren(
    list([["_id", _id], ...kept.map(([name, label]) => [label, kind(name)(rest[name])])]),
    make("h3", {}, "Tags"),
    tags?.length ? make("ul", { class: "tags" }, ...tags.map((tag) => make("li", {}, tag))) : make("p", {}, "None"),
    make("h3", {}, "Attributes"),
    attributes.length ? list(attributes.map(([name, value]) => [name, shown(value)])) : make("p", {}, "None"),
  );
}

const list = (pairs) =>
  make("dl", {}, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

function showEvents({ events, cursor }, added = []) {
  $("none").hidden = events.length > 0;
  $("chart").hidden = events.length === 0;
  $("older").hidden = !cursor;
  if (events.length) {
    const caption = `By type and day, of the ${events.length} events shown here`;
    $("chart").replaceChildren(chart(events), make("figcaption", {}, caption));
  }
  const timeline = $("timeline");
  events.forEach((event, index) => {
    const place = timeline.children[index];
    // An item that is there stays as it is: it may be open, or have the focus.
    if (place?.dataset.key !== key(event)) timeline.insertBefore(itemOf(event, added.includes(event)), place ?? null);
  });
  while (timeline.children.length > events.length) timeline.lastChild.remove();
}

function itemOf(event, isNew) {
  const { _id, type, payload, createdOn, receivedOn } = event;
  const brief = Object.entries(payload).map(([name, value]) => `${name}: ${shown(value)}`).join(", ");
  return make(
    "li",
    { "data-key": key(event), class: isNew ? "new" : "" },
    make(
      "details",
      {},
      make("summary", {}, make("b", {}, type), " ", time(createdOn), " ", make("span", { class: "brief" }, brief)),
      list([["_id", _id], ["Happened", createdOn], ...(receivedOn ? [["Received", receivedOn]] : [])]),
      make("pre", {}, JSON.stringify(payload, null, 2)),
    ),
  );
}

function showRefusals(refusals) {
  $("refused").hidden = refusals.length === 0;
  const cells = ({ hour, code, type, field, count, lastRequestId }) =>
    [count, code, type ?? "", field ?? "", time(hour), lastRequestId ?? ""].map((each) => make("td", {}, each));
  $("refused").querySelector("tbody").replaceChildren(...refusals.map((each) => make("tr", {}, ...cells(each))));
}

// --- Starting --------------------------------------------------------------------------------------

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const who = $("who").value.trim();
  if (who === fromAddress()) show(who);
  else location.hash = encodeURIComponent(who);
});
$("older").addEventListener("click", showOlder);
window.addEventListener("hashchange", () => show(fromAddress()));

function fromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

$("zone").textContent = `Newest first, by the clock of ${MOMENT.resolvedOptions().timeZone}. Refreshes by itself.`;
show(fromAddress());
watchRefusals();
