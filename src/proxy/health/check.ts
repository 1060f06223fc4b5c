import type { GrpcAsk, HealthCheck, HttpAsk, TcpAsk } from "../../api/traffic-health.ts";
import type { TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { ProtobufWriter, readProtobuf } from "../../policy/ext-auth/protobuf.ts";
import type { SideAnswer, SideRequest } from "../../policy/exchange.ts";
import type { Endpoint, Picked, UpstreamPolicy } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import type { Output } from "../http/output.ts";
import { reach } from "../http/reach.ts";
import { SideCall } from "../http/side-call.ts";
import { HandleStream, nobody, type Stream } from "../http/stream.ts";
import type { Sweeper } from "../http/sweeper.ts";
import { UpstreamPool, type UpstreamSettings } from "../http/upstream-pool.ts";
import { UpstreamSessions } from "../http/upstream-sessions.ts";
import type { CheckResult } from "./checker.ts";

export interface CheckTools {
  dial: typeof dial;
  output: Output;
  sweeper: Sweeper;
}

/** What is read of an answer: health pages are short, and who looks for a text in a long one finds it early. */
const bytesMax = 64 * 1024;
const grpcPath = "/grpc.health.v1.Health/Check";
/** UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN. */
const servingNames = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const serving = 1;
const unimplemented = "12";

/**
 * Asks an endpoint once, on a connection of its own, as the upstream's requests are sent: what is found holds for who comes anew. Bounded
 * in bytes and time; never rejects.
 */
export function checkEndpoint({ ask, timeoutMs }: HealthCheck, endpoint: Endpoint, settings: UpstreamSettings, tools: CheckTools): Promise<CheckResult> {
  switch (ask.type) {
    case "tcp":
      return checkTcp(ask, timeoutMs, endpoint, settings, tools);
    case "http":
      return call(requestOf(ask, timeoutMs, endpoint), endpoint, settings, tools, (answer) => judgeHttp(ask, answer));
    case "grpc":
      return call(grpcRequestOf(ask, timeoutMs, endpoint), endpoint, { ...settings, http2: true }, tools, judgeGrpc);
  }
}

function call(request: SideRequest, endpoint: Endpoint, settings: UpstreamSettings, { dial: dialEndpoint, output, sweeper }: CheckTools, judge: (answer: SideAnswer) => CheckResult): Promise<CheckResult> {
  return new Promise((resolve) => {
    const pool = new (settings.http2 ? UpstreamSessions : UpstreamPool)(settings, onlyAt(endpoint), { output, sweeper, headBytesMax: limits.gatewayAnswerHeadBytesMax }, dialEndpoint);
    SideCall.start(output, pool, request, (answer, reason) => {
      pool.close();
      resolve(answer ? judge(answer) : { finding: "silent", reason });
    });
  });
}

function requestOf({ method, path, host, body }: HttpAsk, timeoutMs: number, { key }: Endpoint): SideRequest {
  return { upstream: "", method, target: path, host: host ?? key, headers: [["user-agent", "wherry/health"]], ...(body !== undefined && { body: Buffer.from(body, "base64") }), timeoutMs, bytesMax, cuts: true, triesMax: 1 };
}
function judgeHttp({ statuses, retriable = [], expect }: HttpAsk, { status, body }: SideAnswer): CheckResult {
  if (!statuses.includes(status)) return { finding: retriable.includes(status) ? "silent" : "unwell", reason: `${status}` };
  if (expect !== undefined && !body.includes(Buffer.from(expect, "base64"))) return { finding: "unwell", reason: `${status}, and its body does not contain what is expected` };
  return { finding: "well", reason: `${status}` };
}

function grpcRequestOf({ service }: GrpcAsk, timeoutMs: number, { key }: Endpoint): SideRequest {
  const message = new ProtobufWriter().text(1, service).done();
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return { upstream: "", method: "POST", target: grpcPath, host: key, headers: [["content-type", "application/grpc"], ["te", "trailers"], ["grpc-timeout", `${Math.min(timeoutMs, 99_999_999)}m`], ["user-agent", "wherry/health"]], body: frame, timeoutMs, bytesMax, triesMax: 1 };
}
function judgeGrpc({ status, headers, body }: SideAnswer): CheckResult {
  const grpcStatus = headers.find(([name]) => name === "grpc-status")?.[1];
  if (status !== 200 || grpcStatus === undefined) return { finding: "unwell", reason: status === 200 ? "it does not speak gRPC" : `${status}` };
  if (grpcStatus !== "0") return { finding: "unwell", reason: grpcStatus === unimplemented ? "it has no health service (grpc.health.v1.Health)" : `its call ended with status ${grpcStatus}` };
  const found = servingOf(body);
  return { finding: found === serving ? "well" : "unwell", reason: servingNames[found] ?? `status ${found}` };
}
/** HealthCheckResponse { ServingStatus status = 1; }: absent, and what cannot be read, is UNKNOWN. */
function servingOf(frame: Buffer): number {
  if (frame.length < 5 || frame[0] !== 0) return 0;
  try {
    for (const { number, integer } of readProtobuf(frame.subarray(5, 5 + frame.readUInt32BE(1)))) if (number === 1) return integer;
  } catch {
    return 0;
  }
  return 0;
}

/** Without anything to be expected, who accepts is well. */
function checkTcp({ send, expect }: TcpAsk, timeoutMs: number, endpoint: Endpoint, settings: UpstreamSettings, tools: CheckTools): Promise<CheckResult> {
  const { key } = endpoint;
  return new Promise((resolve) => {
    let stream: Stream | undefined;
    let isOver = false;
    const over = (finding: CheckResult["finding"], reason: string): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      if (stream) stream.owner = nobody;
      stream?.close();
      resolve({ finding, reason: finding === "well" ? reason : `${key}: ${reason}` });
    };
    const timer = setTimeout(over, timeoutMs, "silent", `no answer within ${timeoutMs} ms`).unref();
    const wanted = expect === undefined ? undefined : Buffer.from(expect, "base64");
    let came = Buffer.alloc(0);
    const owner = {
      onBytes: (bytes: Buffer, from: number, to: number): void => {
        if (isOver || !wanted) return;
        came = Buffer.concat([came, bytes.subarray(from, to)]);
        if (came.includes(wanted)) return over("well", "it answers what is expected");
        if (came.length > bytesMax) over("silent", `what is expected is not in the first ${bytesMax} bytes`);
      },
      onEnd: (): void => over("silent", "it ended before it said what is expected"),
      onBroken: (): void => over("silent", "it broke before it said what is expected"),
      onDrain: (): void => {},
    };
    const begin = (connected: TcpHandle | Stream): void => {
      if ("write" in connected) {
        stream = connected;
        stream.owner = owner;
      } else {
        stream = new HandleStream(connected, owner);
      }
      if (isOver) return stream.close();
      if (send !== undefined) {
        const bytes = Buffer.from(send, "base64");
        tools.output.to(stream);
        tools.output.copy(bytes, 0, bytes.length);
        tools.output.flush();
      }
      if (!wanted) return over("well", "it accepts connections");
      stream.resume();
    };
    reach(tools.dial, endpoint, { ...settings, connectMs: timeoutMs }, undefined, (connected, reason) => (connected ? begin(connected) : over("silent", reason)));
  });
}

/** The one endpoint that is asked, whatever is known of it. */
function onlyAt(endpoint: Endpoint): UpstreamPolicy {
  const picked: Picked = { endpoint, done() {} };
  const all = { configure() {}, update() {}, pick: () => picked, mayRetry: () => false, endpoints: () => [], connectionOpened: () => true, connectionClosed() {}, pendingStarted: () => true, pendingEnded() {} };
  return all;
}
