import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

/** Collects events, and sends them. `refused` and `warnings` are pairs of an event and what the API says of it. */
class Sender {
  events = [];
  refused = [];
  warnings = [];

  add(user, event) {
    this.events.push({ eventId: randomUUID(), eventTime: new Date().toISOString(), user, event });
  }

  /** Sends the events. Those that could not be sent stay in `events`. Throws RangeError if the batch is wrong. */
  async flush(attempts = 5) {
    while (this.events.length && attempts) {
      const batch = this.events.slice(0, 100);
      const { status, seconds, body } = await post({ events: batch });
      let failed = [];
      if (body?.results) {
        const pairs = batch.map((event, i) => [event, body.results[i]]);
        failed = pairs.filter(([, result]) => result.status === "failed").map(([event]) => event);
        const said = (name) => pairs.filter(([, result]) => result[name]?.length).map(([event, result]) => [event, result[name]]);
        this.refused.push(...said("errors").filter(([event]) => !failed.includes(event)));
        this.warnings.push(...said("warnings"));
      } else if ([0, 429, 500, 503].includes(status)) {
        failed = batch;
      } else {
        throw new RangeError(JSON.stringify(body));
      }
      this.events = [...failed, ...this.events.slice(batch.length)];
      if (failed.length) {
        attempts--;
        await setTimeout(1000 * seconds);
      }
    }
  }
}

/** Returns the status (0: no response), the seconds to wait before another attempt, and the body. */
async function post(batch) {
  const { API_URL, API_KEY } = process.env;
  const headers = { Authorization: API_KEY, "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(batch), signal: AbortSignal.timeout(30_000) };
  try {
    const answer = await fetch(`${API_URL}/events/`, request);
    return { status: answer.status, seconds: answer.headers.get("Retry-After") ?? 1, body: await answer.json() };
  } catch {
    return { status: 0, seconds: 1 };
  }
}

const sender = new Sender();
sender.add({ email: "ana@example.com" }, { viewitem: { itemId: "SKU-1" } });
sender.add({ email: "ana@example.com" }, { search: { query: "red shoes" } });
try {
  await sender.flush();
} finally {
  for (const [event, errors] of sender.refused) console.log("refused:", event.eventId, errors[0].message);
  for (const [event, warnings] of sender.warnings) console.log("warning:", event.eventId, warnings[0].message);
}
console.log(sender.events.length, "left");
