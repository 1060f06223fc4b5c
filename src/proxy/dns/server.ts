import { createSocket } from "node:dgram";
import { Socket } from "node:net";
import type { TcpHandle, UdpHandle } from "../../base/handles.ts";
import type { Log } from "../../base/log.ts";
import { decodeQuery, encodeError, encodeResponse, rcodes, types, type DnsRecord, type Query, type Response } from "./message.ts";
import type { Zone } from "./zone.ts";

/** What `wherry` found outside; its own resolver does the talking. */
export interface OutsideAnswer {
  rcode: number;
  records: DnsRecord[];
}
export type ResolveOutside = (name: string, type: string) => Promise<OutsideAnswer>;

const tcpClientsMax = 128;
const tcpIdleMs = 10_000;
/** Questions of one connection that may wait for answers from outside. */
const tcpPendingMax = 64;
/** Names being asked for outside at one time; beyond: SERVFAIL, which clients retry. */
const outsideMax = 256;
const cacheMax = 2_000;
const cacheSecondsMax = 30;
const negativeSeconds = 5;

const forwardable: Record<number, string> = { [types.A]: "A", [types.CNAME]: "CNAME", [types.NS]: "NS", [types.MX]: "MX", [types.TXT]: "TXT", [types.SRV]: "SRV", [types.PTR]: "PTR" };

/** The cluster's name server: the zone's answers at once, other names by way of `wherry`. */
export class DnsServer {
  readonly #zone: Zone;
  readonly #outside: ResolveOutside;
  readonly #log: Log;
  readonly #cache = new Map<string, { answer: OutsideAnswer; untilMs: number }>();
  readonly #asking = new Map<string, Promise<OutsideAnswer>>();
  #tcpClients = 0;

  constructor(zone: Zone, outside: ResolveOutside, log: Log) {
    this.#zone = zone;
    this.#outside = outside;
    this.#log = log;
  }

  /** Answers datagrams on a bound handle; returns how to stop, which closes it. */
  receive(handle: UdpHandle): () => void {
    // Answers go to the address that asked: a literal, which needs no lookup.
    const socket = createSocket({ type: "udp4", lookup: (address, _options, done) => done(null, address, 4) });
    socket.on("error", (error) => this.#log.warn("the name server's UDP socket failed", { error }));
    socket.on("message", (message, from) => {
      const answer = this.answer(message, "udp");
      if (answer instanceof Promise) void answer.then((bytes) => bytes && send(bytes));
      else if (answer) send(answer);
      function send(bytes: Buffer): void {
        try {
          socket.send(bytes, from.port, from.address, () => {});
        } catch {
          // Closed while the answer was on its way.
        }
      }
    });
    socket.bind(handle as never);
    return () => socket.close();
  }

  /** One TCP connection: questions with a length before them, answered as they are ready. */
  accept(handle: TcpHandle): void {
    if (this.#tcpClients >= tcpClientsMax) return handle.close();
    this.#tcpClients++;
    const socket = new Socket({ handle } as never);
    let rest: Buffer = Buffer.alloc(0);
    let pending = 0;
    socket.on("close", () => this.#tcpClients--);
    socket.on("error", () => socket.destroy());
    socket.setTimeout(tcpIdleMs, () => socket.destroy());
    socket.on("data", (bytes: Buffer) => {
      rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const length = rest.readUInt16BE(0);
        const answer = this.answer(rest.subarray(2, 2 + length), "tcp");
        rest = rest.subarray(2 + length);
        if (answer === undefined || ++pending > tcpPendingMax || socket.writableLength > 1 << 20) return void socket.destroy();
        void Promise.resolve(answer).then((reply) => {
          pending--;
          if (!reply || socket.destroyed) return;
          const head = Buffer.alloc(2);
          head.writeUInt16BE(reply.length, 0);
          socket.write(Buffer.concat([head, reply]));
        });
      }
    });
    socket.resume();
  }

  /** The answer to one message, at once where the zone knows it; undefined: none is due. Never throws, never rejects. */
  answer(message: Buffer, transport: "udp" | "tcp"): Buffer | Promise<Buffer | undefined> | undefined {
    const query = decodeQuery(message);
    if (!query) return undefined;
    if (!("question" in query)) return encodeError(query.id, query.rcode);
    if (query.edns && query.edns.version > 0) return encodeResponse(query, refusal(rcodes.badVersion), transport);
    if (query.class !== 1) return encodeResponse(query, refusal(rcodes.refused), transport);
    const found = this.#zone.find(query.name, query.type);
    if (!("outside" in found)) return encodeResponse(query, shuffled(found, query.id), transport);
    return this.#forward(query, found.outside, found.aliases).then((response) => encodeResponse(query, response, transport));
  }

  async #forward(query: Query, name: string, aliases: DnsRecord[]): Promise<Response> {
    const type = forwardable[query.type];
    // Egress is IPv4 only, so there is nothing to say about IPv6.
    if (type === undefined) return { rcode: rcodes.ok, authoritative: false, answers: aliases };
    try {
      const { rcode, records } = await this.#resolve(name, type);
      return { rcode, authoritative: false, answers: [...aliases, ...records] };
    } catch {
      return { ...refusal(rcodes.serverFailure), answers: aliases };
    }
  }

  async #resolve(name: string, type: string): Promise<OutsideAnswer> {
    const key = `${type} ${name}`;
    const nowMs = performance.now();
    const cached = this.#cache.get(key);
    if (cached && cached.untilMs > nowMs) return cached.answer;
    let asking = this.#asking.get(key);
    if (!asking) {
      if (this.#asking.size >= outsideMax) return { rcode: rcodes.serverFailure, records: [] };
      asking = this.#outside(name, type).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    const answer = await asking;
    if (answer.rcode !== rcodes.serverFailure) {
      const seconds = answer.records.length === 0 ? negativeSeconds : Math.min(cacheSecondsMax, ...answer.records.map((record) => record.ttl));
      this.#cache.delete(key);
      this.#cache.set(key, { answer, untilMs: nowMs + seconds * 1000 });
      if (this.#cache.size > cacheMax) this.#cache.delete(this.#cache.keys().next().value!);
    }
    return answer;
  }
}

const refusal = (rcode: number): Response => ({ rcode, authoritative: false, answers: [] });

/** Clients take the first address: another one each time spreads them. Aliases stay in front. */
function shuffled(response: Response, turn: number): Response {
  const { answers } = response;
  if (answers.length < 2 || answers.some((record) => record.type !== "A")) return response;
  const first = turn % answers.length;
  return { ...response, answers: [...answers.slice(first), ...answers.slice(0, first)] };
}
