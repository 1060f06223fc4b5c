/** For schemas: the form of a UUID in a path or body, so that Postgres is never asked for another. */
export const uuidPattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
export const uuid = { type: "string", pattern: uuidPattern } as const;

/** Schemas that several services share. */
export const idParams = { type: "object", properties: { id: uuid } } as const;
export const pageQuery = { limit: { type: "integer", minimum: 1, maximum: 500, default: 100 }, offset: { type: "integer", minimum: 0, default: 0 } } as const;

const text = { type: "string" } as const;
const time = { type: "string", format: "date-time" } as const;
const cents = { type: "integer", minimum: 0 } as const;

/** What the services answer, for their documents. */
export const user = { type: "object", properties: { id: uuid, username: text, email: text, role: { enum: ["guest", "customer", "admin"] }, balance_cents: cents, created: time } } as const;
export const product = { type: "object", properties: { id: uuid, sku: text, name: text, description: text, price_cents: cents, currency: text, stock: { type: "integer", minimum: 0 }, category: text } } as const;
export const order = {
  type: "object",
  properties: { id: uuid, user_id: uuid, status: { enum: ["pending", "placed", "cancelled"] }, total_cents: cents, currency: text, created: time, items: { type: "array", items: { type: "object", properties: { product_id: uuid, sku: text, quantity: { type: "integer" }, price_cents: cents } } } },
} as const;
export const notification = { type: "object", properties: { id: uuid, user_id: uuid, order_id: uuid, kind: text, message: text, created: time, mailed: { ...time, description: "When the customer's mail server took it" } } } as const;
export const listOf = (name: string, items: object): { type: "object"; properties: Record<string, object> } => ({ type: "object", properties: { instance_id: text, [name]: { type: "array", items } } });
