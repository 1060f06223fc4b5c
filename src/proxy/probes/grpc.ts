import { type ClientHttp2Session, connect, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import type { ProbeRequest, ProbeResult } from "../../api/network.ts";
import { errorTextOf } from "./http.ts";

type GrpcProbe = Extract<ProbeRequest, { type: "grpc" }>;

const statusNames = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/** A HealthCheckResponse is two bytes; nobody needs more from a health answer. */
const answerBytesMax = 4096;
const grpcDeadlineExceeded = 4;

/**
 * grpc.health.v1.Health/Check over cleartext HTTP/2, as kubelet asks it. Never rejects.
 * Source: k8s.io/kubernetes/pkg/probe/grpc, grpc/health/v1/health.proto.
 */
export function probeGrpc({ ip, port, timeoutMs, service }: GrpcProbe): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const authority = `${ip}:${port}`;
    const socket = connectTcp({ host: ip, port });
    let session: ClientHttp2Session | undefined;
    const settle = (success: boolean, output: string) => {
      clearTimeout(timer);
      session?.destroy();
      socket.destroy();
      resolve({ success, output });
    };
    const within = durationText(timeoutMs);
    const timer = setTimeout(() => settle(false, session ? `timeout: health rpc did not complete within ${within}` : `timeout: failed to connect service ${JSON.stringify(authority)} within ${within}: context deadline exceeded`), timeoutMs);
    socket.on("error", (error) => settle(false, session ? `error: health rpc probe failed: ${error.message}` : `error: failed to connect service at ${JSON.stringify(authority)}: ${errorTextOf(error, ip, port)}`));
    socket.once("connect", () => {
      session = connect(`http://${authority}`, { createConnection: () => socket, settings: { enablePush: false } });
      session.on("error", (error) => settle(false, `error: health rpc probe failed: ${error.message}`));
      check(session, service, timeoutMs, settle);
    });
  });
}

function check(session: ClientHttp2Session, service: string, timeoutMs: number, settle: (success: boolean, output: string) => void): void {
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    te: "trailers",
    "user-agent": "kube-probe/1.35",
    "grpc-timeout": `${timeoutMs}m`,
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  let status: number | undefined;
  let message = "";
  const readStatus = (headers: Record<string, unknown>) => {
    if (headers["grpc-status"] === undefined) return;
    status = Number(headers["grpc-status"]);
    message = safeDecode(String(headers["grpc-message"] ?? ""));
  };
  stream.on("response", (headers) => {
    readStatus(headers);
    if (headers[":status"] !== 200 && status === undefined) settle(false, `error: health rpc probe failed: rpc error: code = Unknown desc = unexpected HTTP status code received from server: ${headers[":status"]}`);
  });
  stream.on("trailers", readStatus);
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > answerBytesMax) stream.close(constants.NGHTTP2_CANCEL);
    else chunks.push(chunk);
  });
  stream.on("error", (error) => settle(false, `error: health rpc probe failed: ${error.message}`));
  stream.on("end", () => {
    if (status === 12) return settle(false, 'error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ' + message);
    if (status === grpcDeadlineExceeded) return settle(false, `timeout: health rpc did not complete within ${durationText(timeoutMs)}`);
    if (status !== 0) return settle(false, `error: health rpc probe failed: rpc error: code = ${codeName(status)} desc = ${message}`);
    const serving = readServingStatus(Buffer.concat(chunks));
    settle(serving === 1, serving === 1 ? "service healthy" : `service unhealthy (responded with ${JSON.stringify(statusNames[serving] ?? String(serving))})`);
  });
  stream.end(encodeCheck(service));
}

/** HealthCheckRequest { string service = 1; } in a gRPC frame. */
function encodeCheck(service: string): Buffer {
  const name = Buffer.from(service.slice(0, 1000));
  const varint = name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >> 7];
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, ...varint]), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}

/** HealthCheckResponse { ServingStatus status = 1; }: absent means UNKNOWN (0). */
function readServingStatus(frame: Buffer): number {
  if (frame.length < 5 || frame[0] !== 0) return 0;
  const message = frame.subarray(5, 5 + frame.readUInt32BE(1));
  return message.length >= 2 && message[0] === 0x08 ? message[1]! : 0;
}

const codes = ["OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"];
const codeName = (status: number | undefined): string => (status === undefined ? "Unknown" : (codes[status] ?? `Code(${status})`));

/** "1s", "1.5s": as Go prints a duration. */
const durationText = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : ms < 1000 ? `${ms}ms` : `${ms / 1000}s`);

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
