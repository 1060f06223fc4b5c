import { type Agent, type ClientRequest, type IncomingHttpHeaders, request as plainRequest } from "node:http";
import { request as secureRequest } from "node:https";
import type { Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import type { Failure } from "../policy/retry.ts";
import type { Endpoint } from "../policy/upstream.ts";
import { CallError } from "./call-error.ts";

/** One request on one connection, and what became of it, in the words of the retry policy. */
export interface Outgoing {
  url: URL;
  endpoint: Endpoint;
  agent: Agent;
  method: string;
  path: string;
  headers: Record<string, string>;
  payload: Buffer | undefined;
  bodyBytesMax: number;
  /** To the answer's head; undefined: the call's own bound will do. */
  timeoutMs: number | undefined;
  /** Answers that count as a failure; they are given all the same. */
  failingStatuses: readonly number[];
}

export interface TryOutcome {
  answer?: { status: number; headers: IncomingHttpHeaders; body: Buffer };
  failure?: Failure;
  error?: Error;
  /** Until the answer's head, or until it failed. */
  headMs: number;
}

/** Never rejects. `deadline` ends it for good; `abandoned`: another try was faster. */
export function sendOnce(outgoing: Outgoing, deadline: AbortSignal, abandoned: AbortSignal, clock: Clock): Promise<TryOutcome> {
  return new Promise((resolve) => {
    const began = performance.now();
    let headMs: number | undefined;
    let isSent = false;
    let timer: Timer | undefined;
    const finish = (outcome: Omit<TryOutcome, "headMs">) => {
      timer?.cancel();
      deadline.removeEventListener("abort", expire);
      abandoned.removeEventListener("abort", expire);
      resolve({ ...outcome, headMs: headMs ?? performance.now() - began });
    };
    const fail = (type: Failure["type"], error: Error) => finish({ failure: { type, sent: isSent, reused: call.reusedSocket }, error });
    const send = outgoing.url.protocol === "https:" ? (secureRequest as typeof plainRequest) : plainRequest;
    const { endpoint, agent, method, path, headers, payload, bodyBytesMax, failingStatuses } = outgoing;
    const isText = outgoing.url.protocol === "https:" && !/^[\d.]+$|:/.test(outgoing.url.hostname);
    const call: ClientRequest = send({ host: endpoint.ip, port: endpoint.port, agent, method, path, headers: { ...headers, ...(payload && { "content-length": payload.length }) }, ...(isText && { servername: outgoing.url.hostname }) }, (response) => {
      headMs = performance.now() - began;
      timer?.cancel();
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= bodyBytesMax) chunks.push(chunk);
        else {
          fail("reset", new CallError("invalid", `the answer has more than ${bodyBytesMax} bytes`));
          call.destroy();
        }
      });
      response.on("end", () => {
        if (!response.complete) return;
        const status = response.statusCode!;
        const isFailing = failingStatuses.includes(status);
        finish({ answer: { status, headers: response.headers, body: Buffer.concat(chunks) }, ...(isFailing && { failure: { type: "status", status, sent: true } }) });
      });
      response.on("error", (error) => fail("reset", error));
      response.on("close", () => response.complete || fail("reset", new Error("the answer was cut off")));
    });
    const expire = () => {
      const error = (deadline.aborted ? deadline.reason : new CallError("cancelled", "another try was faster")) as Error;
      fail("timeout", error);
      call.destroy(error);
    };
    call.on("socket", (socket: Socket) => {
      if (!socket.connecting) isSent = true;
      else socket.once(outgoing.url.protocol === "https:" ? "secureConnect" : "connect", () => (isSent = true));
    });
    call.on("error", (error) => fail(isSent ? "reset" : "connect", error));
    if (outgoing.timeoutMs !== undefined) {
      timer = clock.setTimer(outgoing.timeoutMs, () => {
        const error = new Error(`no answer within ${Math.round(outgoing.timeoutMs!)} ms`);
        fail("timeout", error);
        call.destroy(error);
      });
    }
    if (deadline.aborted || abandoned.aborted) return expire();
    deadline.addEventListener("abort", expire, { once: true });
    abandoned.addEventListener("abort", expire, { once: true });
    call.end(payload);
  });
}
