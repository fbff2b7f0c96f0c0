// Requests to the API, which the server of this page passes on with the key.

const LONGEST_PAUSE = 30_000; // milliseconds

/** JSON with its numbers digit by digit, where the browser can: an orderId may be longer than a double is exact. */
export const parsed = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && JSON.rawJSON && context && String(value) !== context.source
      ? JSON.rawJSON(context.source)
      : value,
  );

/** An answer that is not a 2xx, or no answer (status 0). */
export class Refused extends Error {
  constructor(status, body, retryAfter) {
    const { description, hint } = body?.errors?.[0] ?? {};
    super([description ?? "The answer is not the API's.", hint].filter(Boolean).join(" "));
    Object.assign(this, { status, retryAfter: Number(retryAfter) || 0 });
  }
}

/** Return the body of an answer. Throws Refused. */
export async function ask(path, request = {}) {
  let answer;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Refused(0);
  }
  const body = await answer.text().then(parsed).catch(() => undefined);
  if (answer.ok && body) return body;
  throw new Refused(answer.status, body, answer.headers.get("Retry-After"));
}

/** Return what to do about it. */
export function advice({ status, message }) {
  if (status === 0)
    return "The server of this page has stopped. Start `make run` or `make console` again; this page continues by itself.";
  if (status === 401) return "The API does not accept the key. Start `make console` again with a key that it accepts.";
  if (status === 403) return `${message} Start \`make console\` with a key that has the scope.`;
  if (status === 429) return "The API has too many requests. This page waits, and continues by itself.";
  return `${message} This page continues by itself.`;
}

/** Return the next pause of a loop after a problem: longer each time, and as long as the API asks for. */
export const longer = (pause, { retryAfter }) => Math.min(LONGEST_PAUSE, Math.max(2 * pause, 1000 * retryAfter));
