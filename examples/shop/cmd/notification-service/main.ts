import { createHttpClient, createOutbox } from "wherry/chassis";
import { address, loadConfig, optional, text } from "wherry/chassis/config";
import { Database } from "../../internal/database.ts";
import { operation } from "../../internal/openapi.ts";
import { listOf, notification, pageQuery, uuid } from "../../internal/schemas.ts";
import { createShopService, serviceUrl } from "../../internal/service.ts";
import { Tokens } from "../../internal/tokens.ts";
import { startMailSink } from "./mail-sink.ts";
import { Mailbox, mailPage } from "./mailbox.ts";
import { migrations, outboxTable } from "./migrations.ts";
import { sendMail } from "./smtp-client.ts";

interface Notification {
  id: string;
  user_id: string;
  order_id: string;
  kind: string;
  message: string;
  created: Date;
  mailed: Date | null;
}

/** SMTP_URL: the mail server; without one the mails go to the sink, and are read at /mail. */
const { smtp } = loadConfig({ smtp: { url: optional(address({ protocols: ["smtp:"] })), from: text({ default: "shop@example.com" }) } }, { watch: false }).value;

const columns = "id, user_id, order_id, kind, message, created, mailed";
const newNotification = {
  type: "object",
  required: ["user_id", "order_id", "kind", "message"],
  additionalProperties: false,
  properties: { user_id: uuid, order_id: uuid, kind: { type: "string", minLength: 1, maxLength: 64 }, message: { type: "string", maxLength: 1000 }, private: { type: "boolean", default: false } },
} as const;

const service = createShopService({
  name: "notification-service",
  title: "What customers were told",
  collection: "notifications",
  routes: (app) => {
    app.get<{ Querystring: { limit: number; offset: number; user_id?: string; order_id?: string } }>("/", { schema: operation({ summary: "Notifications, the latest first: one's own, an admin's are all, and those of guests are everybody's", querystring: { type: "object", properties: { ...pageQuery, user_id: uuid, order_id: uuid } }, answers: { 200: { description: "Notifications", schema: listOf("notifications", notification) } } }) }, async (request) => {
      const caller = await tokens.caller(request);
      const { limit, offset, user_id, order_id } = request.query;
      const notifications = await db.query<Notification>(
        `SELECT ${columns} FROM notifications
          WHERE ($3::uuid IS NULL OR user_id = $3) AND ($4::uuid IS NULL OR order_id = $4) AND (NOT private OR user_id = $5 OR $6)
          ORDER BY created DESC, id LIMIT $1 OFFSET $2`,
        [limit, offset, user_id, order_id, caller?.id, caller?.role === "admin"],
      );
      return { instance_id: service.instanceId, notifications };
    });

    // Senders try again until they have an answer, so the same one may come twice: it is kept once, and mailed by the same transaction.
    app.post<{ Body: Omit<Notification, "id" | "created" | "mailed"> & { private: boolean } }>("/", { schema: operation({ summary: "For other services: the gateway passes none on", body: newNotification, answers: { 201: { description: "Kept; it is mailed in a moment", schema: notification } } }) }, async ({ body }, reply) => {
      const kept = await db.transaction(async (transaction) => {
        const { rows } = await transaction.query<Notification>(`INSERT INTO notifications (user_id, order_id, kind, message, private) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (order_id, kind) DO NOTHING RETURNING ${columns}`, [body.user_id, body.order_id, body.kind, body.message, body.private]);
        if (rows[0]) await outbox.add(transaction, { topic: "mail", key: rows[0].id, payload: { id: rows[0].id } });
        return rows[0] ?? (await transaction.query<Notification>(`SELECT ${columns} FROM notifications WHERE order_id = $1 AND kind = $2`, [body.order_id, body.kind])).rows[0];
      });
      relay?.wake();
      return reply.code(201).send(kept);
    });
  },
});
const { app } = service;
const db = new Database(service);
const outbox = createOutbox({ pool: db.pool, table: outboxTable });
const mailbox = new Mailbox(db);
const tokens = Tokens.of(service);
const users = createHttpClient({ url: serviceUrl("user-service"), name: "user-service", timeoutMs: 5_000, service });
const mailed = service.metrics.counter({ name: "mails_total", help: "Mails handed to the mail server, by what became of it", labels: ["result"] });
let relay: ReturnType<typeof outbox.relay> | undefined;
let server = smtp.url ?? "";

async function mail(id: string): Promise<void> {
  const [told] = await db.query<Notification>(`SELECT ${columns} FROM notifications WHERE id = $1`, [id]);
  if (!told || told.mailed) return;
  const { username, email } = await users.json<{ username: string; email: string }>("GET", `/internal/contacts/${told.user_id}`);
  const subject = told.kind === "order_placed" ? "Your order is placed" : told.kind === "order_cancelled" ? "Your order was cancelled" : told.kind;
  await sendMail(server, { id, from: smtp.from, to: email, subject, text: `Dear ${username},\n\n${told.message}\nOrder ${told.order_id}\n`, date: told.created });
  await db.query("UPDATE notifications SET mailed = now() WHERE id = $1", [id]);
}

service.prepare("outbox", () => outbox.migrate());
service.prepare("migrations", () => db.migrate(migrations));
service.prepare("mail", async () => {
  if (server === "") {
    const sink = await startMailSink((received) => mailbox.keep(received));
    server = sink.url;
    service.onClose("mail sink", () => sink.close());
  }
  relay = outbox.relay(async ({ payload, attempt }) => {
    try {
      await mail((payload as { id: string }).id);
      mailed.labels("sent").add();
    } catch (error) {
      mailed.labels("failed").add();
      service.log.warn({ err: error, attempt }, "a mail could not be sent, trying again later");
      throw error;
    }
  }, { log: service.log, backoffMs: 500, backoffMaxMs: 60_000, attemptsMax: 200 });
  service.onClose("relay", () => relay?.stop());
});

// A tool of developers: it is there where mails go nowhere else.
if (smtp.url === undefined) {
  const query = { type: "object", properties: { limit: pageQuery.limit, to: { type: "string", maxLength: 254 } } } as const;
  app.get<{ Querystring: { limit: number; to?: string } }>("/mail", { schema: { querystring: query } }, async ({ query, headers }, reply) => {
    const mails = await mailbox.list(query.limit, query.to);
    if (!headers.accept?.includes("text/html")) return { instance_id: service.instanceId, mails };
    return reply.type("text/html; charset=utf-8").header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'").send(mailPage(mails, service.instanceId));
  });
}
service.loop("old mails", 3_600_000, () => db.query("DELETE FROM mails WHERE received < now() - interval '7 days'"));
await service.start();
