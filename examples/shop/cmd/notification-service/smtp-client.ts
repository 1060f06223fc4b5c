import { connect, type Socket } from "node:net";

export interface Mail {
  /** Of the Message-ID: the same at each try, by which a receiver knows what it has already. */
  id: string;
  from: string;
  to: string;
  subject: string;
  text: string;
  date: Date;
}

/**
 * Hands one mail to a mail server, as smtp://HOST:PORT. Resolves when the server has taken it over; rejects with what it said otherwise.
 * For a relay nearby: without TLS and without a login. Source: RFC 5321, RFC 5322.
 */
export async function sendMail(url: string, mail: Mail, timeoutMs = 5_000): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port || 25) });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`the mail server is silent for ${timeoutMs} ms`)));
  try {
    const talk = new Conversation(socket);
    await talk.expect(220);
    await talk.say("EHLO shop", 250);
    await talk.say(`MAIL FROM:<${address(mail.from)}>`, 250);
    await talk.say(`RCPT TO:<${address(mail.to)}>`, 250);
    await talk.say("DATA", 354);
    await talk.say(`${message(mail)}\r\n.`, 250);
    // It is theirs now; how they say goodbye changes nothing.
    await talk.say("QUIT", 221).catch(() => {});
  } finally {
    socket.destroy();
  }
}

class Conversation {
  readonly #socket: Socket;
  readonly #lines: string[] = [];
  #rest = "";
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      const lines = (this.#rest + text).split(/\r?\n/);
      this.#rest = lines.pop()!;
      this.#lines.push(...lines);
      this.#wake();
    });
    socket.on("error", (error) => this.#ended(error));
    socket.on("close", () => this.#ended(new Error("the mail server hung up")));
  }

  #ended(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  async expect(code: number): Promise<void> {
    for (;;) {
      const line = this.#lines.shift();
      if (line === undefined) {
        if (this.#failure) throw this.#failure;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      // "250-" has more behind it.
      if (line[3] === "-") continue;
      if (Number(line.slice(0, 3)) !== code) throw new Error(`the mail server says ${line}`);
      return;
    }
  }
  say(text: string, code: number): Promise<void> {
    this.#socket.write(`${text}\r\n`);
    return this.expect(code);
  }
}

/** What could end the line early would be another command. */
function address(text: string): string {
  if (/[\s<>\0]/.test(text)) throw new Error(`no address of a mail: ${JSON.stringify(text)}`);
  return text;
}

function message({ id, from, to, subject, text, date }: Mail): string {
  const head = [`Message-ID: <${id}@shop>`, `Date: ${date.toUTCString().replace("GMT", "+0000")}`, `From: Shop <${from}>`, `To: <${to}>`, `Subject: ${encoded(subject)}`, "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64"];
  return [...head, "", ...(Buffer.from(text).toString("base64").match(/.{1,76}/g) ?? [])].join("\r\n");
}

/** RFC 2047, where it is not plain. */
const encoded = (text: string): string => (/^[\x20-\x7e]*$/.test(text) ? text : `=?utf-8?B?${Buffer.from(text).toString("base64")}?=`);
