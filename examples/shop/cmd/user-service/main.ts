import { Problem } from "wherry/chassis";
import { integer, loadConfig } from "wherry/chassis/config";
import { Database, isDuplicate } from "../../internal/database.ts";
import { operation } from "../../internal/openapi.ts";
import { idParams, listOf, pageQuery, user, uuid } from "../../internal/schemas.ts";
import { createShopService } from "../../internal/service.ts";
import { type Caller, signToken, Tokens } from "../../internal/tokens.ts";
import { readKeyTimes, SigningKeys } from "./keys.ts";
import { migrations } from "./migrations.ts";
import { hashPassword, isPassword } from "./passwords.ts";
import { close, pay } from "./payments.ts";

interface User {
  id: string;
  username: string;
  /** Without a password, and so without anything that only they may do or see. */
  role: "guest" | "customer" | "admin";
  created: Date;
  email: string;
  balance_cents: number;
}

const times = readKeyTimes();
/** What a new customer can spend. */
const { welcome } = loadConfig({ welcome: { cents: integer({ default: 100_000, min: 0 }) } }, { watch: false }).value;

const columns = "id, username, role, created, email, balance_cents";
const usernameOf = { type: "string", minLength: 1, maxLength: 64 } as const;
const passwordOf = { type: "string", minLength: 10, maxLength: 256 } as const;
const newUser = {
  type: "object",
  required: ["username", "email"],
  additionalProperties: false,
  properties: { username: usernameOf, email: { type: "string", maxLength: 254, pattern: "^[^@\\s<>]+@[^@\\s<>]+$" }, password: passwordOf },
} as const;
const login = { type: "object", required: ["username", "password"], additionalProperties: false, properties: { username: usernameOf, password: { type: "string", maxLength: 256 } } } as const;
const payment = { type: "object", required: ["order_id", "cents"], additionalProperties: false, properties: { order_id: uuid, cents: { type: "integer", minimum: 0 } } } as const;

/** What others may see of a user; e-mail and balance are the user's own, and an admin's. */
function shown(user: User, caller: Caller | undefined): Partial<User> {
  if (caller?.id === user.id || caller?.role === "admin") return user;
  const { id, username, role, created } = user;
  return { id, username, role, created };
}

const service = createShopService({
  name: "user-service",
  title: "Accounts: users, tokens, payments",
  collection: "users",
  routes: (app) => {
    app.get<{ Querystring: { limit: number; offset: number } }>("/", { schema: operation({ summary: "Users, the oldest first", querystring: { type: "object", properties: pageQuery }, answers: { 200: { description: "Users", schema: listOf("users", user) } } }) }, async (request) => {
      const caller = await tokens.caller(request);
      const { limit, offset } = request.query;
      const users = await db.query<User>(`SELECT ${columns} FROM users ORDER BY created, username LIMIT $1 OFFSET $2`, [limit, offset]);
      return { instance_id: service.instanceId, users: users.map((user) => shown(user, caller)) };
    });

    app.get<{ Params: { id: string } }>("/:id", { schema: operation({ summary: "One user", params: idParams, answers: { 200: { description: "The user", schema: user }, 404: "There is none" } }) }, async (request) => {
      const caller = await tokens.caller(request);
      return shown(await userOf(request.params.id), caller);
    });

    app.get("/me", { schema: operation({ summary: "Whose token it is", signedIn: true, answers: { 200: { description: "The user", schema: user }, 401: "Not logged in" } }) }, async (request, reply) => {
      const { id } = await tokens.required(request);
      reply.header("cache-control", "private, no-cache");
      return userOf(id);
    });

    app.post<{ Body: { username: string; email: string; password?: string } }>("/", { schema: operation({ summary: "A new user: a customer with a password, a guest without", body: newUser, answers: { 201: { description: "The user", schema: user }, 409: "The username or email is taken" } }) }, async ({ body }, reply) => {
      const { username, email, password } = body;
      const hash = password === undefined ? null : await hashPassword(password);
      try {
        const [made] = await db.query<User>(`INSERT INTO users (username, email, password, role, balance_cents) VALUES ($1, $2, $3, $4, $5) RETURNING ${columns}`, [username, email, hash, hash ? "customer" : "guest", hash ? welcome.cents : 0]);
        return reply.code(201).send(made);
      } catch (error) {
        throw isDuplicate(error) ? new Problem(409, "the username or email is taken") : error;
      }
    });

    app.post<{ Body: { username: string; password: string } }>("/login", { schema: operation({ summary: "A token for a name and a password", body: login, answers: { 200: { description: "The token", schema: { type: "object", properties: { access_token: { type: "string" }, token_type: { const: "Bearer" }, expires_in: { type: "integer" }, user } } }, 401: "The name or the password is wrong", 503: "Too many at the moment" } }) }, async ({ body }, reply) => {
      const [found] = await db.query<User & { password: string | null }>(`SELECT ${columns}, password FROM users WHERE username = $1`, [body.username]);
      if (!(await isPassword(body.password, found?.password ?? undefined)) || !found) throw new Problem(401, "the name or the password is wrong");
      const { kid, key } = await keys.current();
      const { password: _, ...user } = found;
      reply.header("cache-control", "no-store");
      return { access_token: signToken(kid, key, user, times.lifetimeMs), token_type: "Bearer", expires_in: Math.floor(times.lifetimeMs / 1000), user };
    });

    app.put<{ Params: { id: string }; Body: { role: "customer" | "admin" } }>("/:id/role", { schema: operation({ summary: "What a user may do", signedIn: true, params: idParams, body: { type: "object", required: ["role"], additionalProperties: false, properties: { role: { enum: ["customer", "admin"] } } }, answers: { 200: { description: "The user; tokens they have already keep the old role until they expire", schema: user }, 403: "Only admins may", 409: "A guest has no password" } }) }, async (request) => {
      if ((await tokens.required(request)).role !== "admin") throw new Problem(403, "only admins may say what others may do");
      const { id } = await userOf(request.params.id);
      const [changed] = await db.query<User>(`UPDATE users SET role = $2 WHERE id = $1 AND role <> 'guest' RETURNING ${columns}`, [id, request.body.role]);
      if (!changed) throw new Problem(409, "a guest has no password, and can have no role");
      return changed;
    });
  },
});
const { app } = service;
const db = new Database(service);
const keys = new SigningKeys(db, times);
const tokens = new Tokens(() => keys.published());

async function userOf(id: string): Promise<User> {
  const [found] = await db.query<User>(`SELECT ${columns} FROM users WHERE id = $1`, [id]);
  if (!found) throw new Problem(404, `there is no user ${id}`);
  return found;
}

app.get("/.well-known/jwks.json", async (_request, reply) => {
  reply.header("cache-control", "public, max-age=60");
  return { keys: await keys.published() };
});

// For the other services alone: the gateway passes nothing on that lies below /internal, and k8s/mesh says who may ask.
app.get<{ Params: { id: string } }>("/internal/contacts/:id", { schema: { params: idParams } }, async ({ params }) => {
  const { username, email } = await userOf(params.id);
  return { username, email };
});
app.post<{ Body: { order_id: string; cents: number } }>("/internal/payments", { schema: { body: payment } }, async (request, reply) => {
  const caller = await tokens.required(request);
  return reply.code(201).send(await pay(db, caller.id, request.body.order_id, request.body.cents));
});
app.post<{ Params: { id: string } }>("/internal/payments/:id/close", { schema: { params: idParams } }, ({ params }) => close(db, params.id));

service.prepare("migrations", () => db.migrate(migrations));
service.prepare("keys", () => keys.rotate());
service.loop("keys", Math.min(60_000, times.rotateMs / 4), () => keys.rotate());
await service.start();
