import { createServer, type Server, type Socket } from "node:net";

export interface ReceivedMail {
  id: string;
  sender: string;
  recipients: string[];
  subject: string;
  text: string;
}

const lineCharsMax = 2_048;
const mailCharsMax = 262_144;
const connectionsMax = 32;
const recipientsMax = 100;
const idleMs = 30_000;

/**
 * A mail server that keeps what it gets instead of sending it on, so that people can read what customers would. On loopback.
 * It says that it has a mail when `keep` has resolved, and "try again" when it has not. Source: RFC 5321.
 */
export async function startMailSink(keep: (mail: ReceivedMail) => Promise<void>): Promise<{ url: string; close(): Promise<void> }> {
  const server: Server = createServer((socket) => void new Session(socket, keep));
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return {
    url: `smtp://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

class Session {
  readonly #socket: Socket;
  readonly #keep: (mail: ReceivedMail) => Promise<void>;
  #rest = "";
  #sender: string | undefined;
  #recipients: string[] = [];
  /** While the mail's own lines come. */
  #data: string[] | undefined;
  #dataChars = 0;

  constructor(socket: Socket, keep: (mail: ReceivedMail) => Promise<void>) {
    this.#socket = socket;
    this.#keep = keep;
    socket.setEncoding("utf8").setTimeout(idleMs, () => socket.destroy());
    socket.on("error", () => {});
    socket.on("data", (text: string) => this.#received(text));
    this.#say("220 shop keeps your mail");
  }

  #say(line: string): void {
    if (!this.#socket.destroyed) this.#socket.write(`${line}\r\n`);
  }

  #received(text: string): void {
    const lines = (this.#rest + text).split(/\r?\n/);
    this.#rest = lines.pop()!;
    for (const line of lines) void (this.#data ? this.#dataLine(line) : this.#command(line));
    if (this.#rest.length > lineCharsMax) this.#socket.end("500 line too long\r\n");
  }

  #command(line: string): void {
    const verb = line.slice(0, 4).toUpperCase();
    const path = /^(?:MAIL FROM|RCPT TO): ?<([^<>\s]*)>/i.exec(line)?.[1];
    if (verb === "EHLO" || verb === "HELO") this.#say("250 shop");
    else if (verb === "MAIL" && path !== undefined) {
      [this.#sender, this.#recipients] = [path, []];
      this.#say("250 ok");
    } else if (verb === "RCPT" && path && this.#sender !== undefined && this.#recipients.length < recipientsMax) {
      this.#recipients.push(path);
      this.#say("250 ok");
    } else if (verb === "DATA" && this.#recipients.length > 0) {
      [this.#data, this.#dataChars] = [[], 0];
      this.#say("354 go on");
    } else if (verb === "RSET" || verb === "NOOP") {
      if (verb === "RSET") [this.#sender, this.#recipients] = [undefined, []];
      this.#say("250 ok");
    } else if (verb === "QUIT") this.#socket.end("221 bye\r\n");
    else this.#say(["MAIL", "RCPT", "DATA"].includes(verb) ? "503 bad sequence of commands" : "500 not understood");
  }

  async #dataLine(line: string): Promise<void> {
    if (line !== ".") {
      this.#dataChars += line.length;
      if (this.#dataChars > mailCharsMax) return void this.#socket.end("552 too large\r\n");
      return void this.#data!.push(line.startsWith(".") ? line.slice(1) : line);
    }
    const mail = read(this.#data!, this.#sender!, this.#recipients);
    [this.#data, this.#sender, this.#recipients] = [undefined, undefined, []];
    await this.#keep(mail).then(() => this.#say("250 kept"), () => this.#say("451 try again later"));
  }
}

function read(lines: readonly string[], sender: string, recipients: string[]): ReceivedMail {
  const empty = lines.indexOf("");
  const heads = (empty < 0 ? lines : lines.slice(0, empty)).join("\r\n").replace(/\r\n[ \t]+/g, " ").split("\r\n");
  const head = (name: string) => heads.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim() ?? "";
  const body = empty < 0 ? "" : lines.slice(empty + 1).join("\n");
  const subject = head("subject").replace(/=\?utf-8\?B\?([^?]*)\?=/gi, (_, text: string) => Buffer.from(text, "base64").toString());
  return { id: head("message-id"), sender, recipients, subject, text: /base64/i.test(head("content-transfer-encoding")) ? Buffer.from(body, "base64").toString() : body };
}
