import type { FastifyPluginCallback } from "fastify";
import { Database, type Migration } from "../../internal/database.ts";
import { pageQuery, uuid } from "../../internal/schemas.ts";
import { instanceId, runService } from "../../internal/service.ts";

interface Notification {
  id: string;
  user_id: string;
  order_id: string;
  kind: string;
  message: string;
  created: Date;
}

const name = "notification-service";
const db = new Database(name);
const columns = "id, user_id, order_id, kind, message, created";

const migrations: Migration[] = [
  {
    id: "001-notifications",
    up: (db) =>
      db.query(`
        CREATE TABLE notifications (
          id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
          user_id uuid NOT NULL,
          order_id uuid NOT NULL,
          kind text NOT NULL,
          message text NOT NULL,
          created timestamptz NOT NULL DEFAULT now(),
          UNIQUE (order_id, kind)
        )`),
  },
];

const newNotification = {
  type: "object",
  required: ["user_id", "order_id", "kind", "message"],
  additionalProperties: false,
  properties: { user_id: uuid, order_id: uuid, kind: { type: "string", minLength: 1, maxLength: 64 }, message: { type: "string", maxLength: 1000 } },
} as const;
const listQuery = { type: "object", properties: { ...pageQuery, user_id: uuid, order_id: uuid } } as const;

const routes: FastifyPluginCallback = (app, _options, done) => {
  app.get<{ Querystring: { limit: number; offset: number; user_id?: string; order_id?: string } }>("/", { schema: { querystring: listQuery } }, async ({ query }) => ({
    instance_id: instanceId(name),
    notifications: await db.query<Notification>(
      `SELECT ${columns} FROM notifications WHERE ($3::uuid IS NULL OR user_id = $3) AND ($4::uuid IS NULL OR order_id = $4) ORDER BY created DESC, id LIMIT $1 OFFSET $2`,
      [query.limit, query.offset, query.user_id, query.order_id],
    ),
  }));

  // Senders try again until they have an answer, so the same one may come twice and is kept once.
  app.post<{ Body: Omit<Notification, "id" | "created"> }>("/", { schema: { body: newNotification } }, async ({ body }, reply) => {
    const [notification] = await db.query<Notification>(
      `INSERT INTO notifications (user_id, order_id, kind, message) VALUES ($1, $2, $3, $4)
       ON CONFLICT (order_id, kind) DO UPDATE SET kind = excluded.kind RETURNING ${columns}`,
      [body.user_id, body.order_id, body.kind, body.message],
    );
    return reply.code(201).send(notification);
  });
  done();
};

await runService({
  name,
  routes,
  collection: "notifications",
  checks: { db: () => db.check() },
  prepare: (signal, log) => db.migrate(migrations, signal, log),
  close: () => db.close(),
});
