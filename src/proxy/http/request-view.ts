import type { RequestView } from "../../policy/exchange.ts";
import type { Head } from "./head.ts";

const methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

/** A parsed head as the policy sees it; made of strings only as far as they are asked for. Valid as long as its exchange. */
export class HeadView implements RequestView {
  readonly #head: Head;
  readonly scheme: "http" | "https";
  readonly port: number;
  readonly client: string;
  #method: string | undefined;
  #query: string | undefined;

  constructor(head: Head, scheme: "http" | "https", port: number, client: string) {
    this.#head = head;
    this.scheme = scheme;
    this.port = port;
    this.client = client;
  }
  get method(): string {
    if (this.#method === undefined) {
      const head = this.#head;
      this.#method = methods.find((method) => head.methodIs(method)) ?? head.bytes.latin1Slice(head.base + head.methodStart, head.base + head.methodEnd);
    }
    return this.#method;
  }
  get host(): string {
    return this.#head.host;
  }
  get path(): string {
    return this.#head.path;
  }
  get query(): string {
    const head = this.#head;
    return (this.#query ??= head.queryStart < head.targetEnd ? head.bytes.latin1Slice(head.base + head.queryStart + 1, head.base + head.targetEnd) : "");
  }
  header(name: string): string | undefined {
    return name === "host" && this.#head.absolute ? authorityOf(this.#head) : this.#head.find(name);
  }
  headers(): [name: string, value: string][] {
    const head = this.#head;
    return Array.from({ length: head.count }, (_, i) => i).flatMap((i): [string, string][] => (head.dropped[i] === 1 ? [] : [[head.nameAt(i), i === head.hostField && head.absolute ? authorityOf(head) : head.valueAt(i)]]));
  }
}

/** Of an absolute target: it counts, whatever Host says (RFC 9112 §3.2.2), here as for who is behind. */
export const authorityOf = ({ bytes, base, targetStart, queryStart }: Head): string => /^https?:\/\/([^/]+)/i.exec(bytes.latin1Slice(base + targetStart, base + queryStart))![1]!;
