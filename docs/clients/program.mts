import createClient from "openapi-fetch";
import type { paths } from "./event-api.js";

const { API_URL, API_KEY } = process.env;
const client = createClient<paths>({ baseUrl: API_URL, headers: { Authorization: API_KEY } });
const user = { params: { path: { id: "ana@example.com" } } };

function must<T>(answer: { data?: T; error?: object }): T {
  if (answer.error) throw new Error(JSON.stringify(answer.error));
  return answer.data!;
}

must(await client.POST("/user/", { body: { email: "ana@example.com", firstname: "Ana", tags: ["vip"] } }));

const body = {
  user: { email: "ana@example.com" },
  event: { confirmation: { orderId: "A-3003", total: 59.9, currency: "EUR" } },
};
for (const expected of ["created", "discarded"]) {
  const answer = await client.POST("/event/", { body });
  must(answer);
  if (answer.response.headers.get("X-Event-Status") !== expected) throw new Error("not " + expected);
}

const view = { user: body.user, event: { viewitem: { itemId: "SKU-1" } }, eventTime: new Date().toISOString() };
const nobody = { ...view, user: { email: "nobody@example.com" } };
const seen = { events: [{ ...view, eventId: "view-1" }] };
const check = must(await client.POST("/events/check", { body: seen }));
if (check.stored) throw new Error("stored");
const batch = must(await client.POST("/events/", { body: { events: [...seen.events, { ...nobody, eventId: "view-2" }] } }));
for (const result of batch.results) {
  if (result.status === "created") console.log(result.eventId, "created");
  else if (result.status === "refused") console.log(result.eventId, result.errors?.[0]?.code);
}

const { _id, numberOfPurchases, firstname } = must(await client.GET("/user/{id}", user));
console.log(numberOfPurchases, firstname);

const query = { type: "confirmation" as const };
const { events } = must(await client.GET("/user/{id}/events", { params: { ...user.params, query } }));
console.log(events.map(({ payload }) => payload.orderId));

must(await client.PUT("/user/{id}", { ...user, body: { tags: "-vip" } }));
const one = { params: { path: { ...user.params.path, name: "firstname" } } };
must(await client.DELETE("/user/{id}/attributes/{name}", one));
for (const email of ["ana.silva@example.com", "ana@example.com"]) {
  must(await client.PUT("/user/{id}/email", { params: { path: { id: _id } }, body: { email } }));
}
must(await client.GET("/refusals"));
const { erasure } = must(await client.DELETE("/user/{id}", user));
const { status } = must(await client.GET("/erasures/{id}", { params: { path: { id: erasure._id } } }));
console.log("erasure", status);

const unknown = await client.POST("/event/", { body });
console.log(unknown.error?.errors[0]?.message);
