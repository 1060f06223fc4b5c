import type { Database } from "../../internal/database.ts";
import type { ReceivedMail } from "./mail-sink.ts";

export interface KeptMail {
  id: string;
  recipients: string[];
  subject: string;
  text: string;
  /** More than once where the sender did not hear the first time that we have it. */
  times: number;
  received: Date;
}

/** The mails of the sink: in the database, so that each replica shows the same. A mail that comes again is the same mail. */
export class Mailbox {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  async keep({ id, sender, recipients, subject, text }: ReceivedMail): Promise<void> {
    await this.#db.query("INSERT INTO mails (id, sender, recipients, subject, text) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET times = mails.times + 1", [id, sender, recipients, subject, text]);
  }

  list(limit: number, to?: string): Promise<KeptMail[]> {
    return this.#db.query<KeptMail>("SELECT id, recipients, subject, text, times, received FROM mails WHERE $2::text IS NULL OR $2 = ANY(recipients) ORDER BY received DESC, id LIMIT $1", [limit, to]);
  }
}

/** For people. Nothing of a mail is taken for HTML. */
export function mailPage(mails: readonly KeptMail[], by: string): string {
  const safe = (text: string) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const rows = mails.map(({ recipients, subject, text, times, received }) => `<article><h2>${safe(subject)}</h2><p class="of">to ${safe(recipients.join(", "))} · ${received.toISOString()}${times > 1 ? ` · came ${times} times` : ""}</p><pre>${safe(text)}</pre></article>`);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Mail</title>
<style>body{font:16px/1.5 system-ui;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fafaf8}article{background:#fff;border:1px solid #ddd;border-radius:6px;padding:.2rem 1rem;margin:1rem 0}h2{font-size:1rem}.of{color:#666;font-size:.85rem}a{color:#1d5c4d}pre{white-space:pre-wrap;font:inherit}</style>
<h1>What customers were mailed</h1><p class="of">Kept by ${safe(by)}; nothing of it left this machine. <a href="/">Back to the shop</a></p>${rows.join("") || "<p>Nothing yet: place an order.</p>"}</html>`;
}
