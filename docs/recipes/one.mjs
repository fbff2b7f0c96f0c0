import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

/** Returns "created" or "discarded". Throws RangeError if the request is wrong. */
async function sendEvent(user, event, attempts = 5) {
  const { API_URL, API_KEY } = process.env;
  const headers = { Authorization: API_KEY, "Content-Type": "application/json", "Idempotency-Key": randomUUID() };
  const request = { method: "POST", headers, body: JSON.stringify({ user, event }) };
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(`${API_URL}/event/`, { ...request, signal }).catch(() => null);
    if (answer?.ok) {
      const { warnings = [] } = await answer.json().catch(() => ({}));
      warnings.forEach(({ field, message }) => console.error("warning:", field, message));
      return answer.headers.get("X-Event-Status");
    }
    if (answer && answer.status < 500 && answer.status !== 429) {
      throw new RangeError(await answer.text());
    }
    if (attempt < attempts) {
      await setTimeout(1000 * (answer?.headers.get("Retry-After") ?? 1));
    }
  }
  throw new Error("The event was not sent");
}

console.log(await sendEvent({ email: "ana@example.com" }, { viewitem: { itemId: "SKU-1" } }));
