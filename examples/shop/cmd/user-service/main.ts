import type { FastifyPluginCallback } from "fastify";
import { Database, isDuplicate, type Migration } from "../../internal/database.ts";
import { idParams, pageQuery } from "../../internal/schemas.ts";
import { httpError, instanceId, runService } from "../../internal/service.ts";

interface User {
  id: string;
  username: string;
  email: string;
  created: Date;
}

const name = "user-service";
const db = new Database(name);
const columns = "id, username, email, created";

const migrations: Migration[] = [
  {
    id: "001-users",
    up: (db) =>
      db.query(`
        CREATE TABLE users (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          username text NOT NULL UNIQUE,
          email text NOT NULL UNIQUE,
          created timestamptz NOT NULL DEFAULT now()
        )`),
  },
  {
    id: "002-first-users",
    up: (db) =>
      db.query(`
        INSERT INTO users (id, username, email) VALUES
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0001', 'ada', 'ada@example.com'),
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0002', 'grace', 'grace@example.com'),
          ('0a1b7c52-9f53-4f0e-8a51-6d1f5b1c0003', 'linus', 'linus@example.com')`),
  },
];

const newUser = {
  type: "object",
  required: ["username", "email"],
  additionalProperties: false,
  properties: { username: { type: "string", minLength: 1, maxLength: 64 }, email: { type: "string", maxLength: 254, pattern: "^[^@\\s]+@[^@\\s]+$" } },
} as const;

const routes: FastifyPluginCallback = (app, _options, done) => {
  app.get<{ Querystring: { limit: number; offset: number } }>("/", { schema: { querystring: { type: "object", properties: pageQuery } } }, async ({ query }) => ({
    instance_id: instanceId(name),
    users: await db.query<User>(`SELECT ${columns} FROM users ORDER BY created, username LIMIT $1 OFFSET $2`, [query.limit, query.offset]),
  }));

  app.get<{ Params: { id: string } }>("/:id", { schema: { params: idParams } }, async ({ params }) => {
    const [user] = await db.query<User>(`SELECT ${columns} FROM users WHERE id = $1`, [params.id]);
    if (!user) throw httpError(404, `there is no user ${params.id}`);
    return user;
  });

  app.post<{ Body: Pick<User, "username" | "email"> }>("/", { schema: { body: newUser } }, async ({ body }, reply) => {
    try {
      const [user] = await db.query<User>(`INSERT INTO users (username, email) VALUES ($1, $2) RETURNING ${columns}`, [body.username, body.email]);
      return reply.code(201).send(user);
    } catch (error) {
      throw isDuplicate(error) ? httpError(409, "the username or email is taken") : error;
    }
  });
  done();
};

await runService({
  name,
  routes,
  collection: "users",
  checks: { db: () => db.check() },
  prepare: (signal, log) => db.migrate(migrations, signal, log),
  close: () => db.close(),
});
