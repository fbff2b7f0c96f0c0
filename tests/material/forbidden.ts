// What the types forbid must not compile: tsc complains of an expected error that is none.
import type { components } from "./event-api.js";

type Sent = components["schemas"]["EventRequest"];
const ana = { email: "ana@example.com" };
export const named: Sent = { user: { _id: "x", tel: null }, event: { viewitem: { itemId: 7, colour: ["red"] } } };
export const nested: Sent = { user: ana, event: { confirmation: { generic: { orderId: 7 }, items: [{ itemId: 7 }] } } };
// @ts-expect-error
export const noEvent: Sent = { user: ana };
// @ts-expect-error
export const emptyEvent: Sent = { user: ana, event: {} };
// @ts-expect-error
export const unknownEvent: Sent = { user: ana, event: { viewItem: { itemId: "SKU-1" } } };
// @ts-expect-error
export const nobody: Sent = { user: { firstname: "Ana" }, event: { login: {} } };
// @ts-expect-error
export const noOrder: Sent = { user: ana, event: { confirmation: { total: 59.9 } } };
// @ts-expect-error
export const noId: components["schemas"]["BatchEvent"] = { user: ana, event: { emailopen: {} } };
export function reason(result: components["schemas"]["EventOutcome"]): string {
  // @ts-expect-error
  if (result.status === "created") return result.errors[0].message;
  return result.status === "discarded" ? (result.message ?? "") : "";
}
