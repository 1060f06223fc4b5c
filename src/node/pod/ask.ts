import type { PodNetwork } from "../../api/network.ts";
import type { Container, Probe } from "../../api/types.ts";
import { type Clock, delay } from "../../base/clock.ts";
import type { ContainerProcess } from "../sandbox/sandbox.ts";
import type { ProbeOutcome } from "./probes.ts";

type Action = Pick<Probe, "exec" | "httpGet" | "tcpSocket" | "grpc">;
export interface Target {
  readonly ip: string;
  readonly container: Container;
  readonly process: ContainerProcess;
  readonly network: Pick<PodNetwork, "probe">;
  readonly clock: Clock;
}

const outputBytesMax = 10 * 1024;
const lastWordsMs = 250;

/** Asks a probe's question once. Rejects when the question could not be put (not: when the answer was no). */
export async function askProbe(probe: Action, timeoutMs: number, target: Target): Promise<ProbeOutcome> {
  if (probe.exec) {
    const { exitCode, output, timedOut } = await runInContainer(probe.exec.command ?? [], timeoutMs, target);
    if (timedOut) return { success: false, output: `command timed out: ${JSON.stringify((probe.exec.command ?? []).join(" "))} timed out after ${timeoutMs / 1000}s` };
    return { success: exitCode === 0, output };
  }
  if (probe.httpGet) {
    const { host, path, port, scheme, httpHeaders } = probe.httpGet;
    return await target.network.probe({
      type: "http",
      ip: host || target.ip,
      port: resolvePort(port, target.container),
      timeoutMs,
      scheme: scheme === "HTTPS" ? "HTTPS" : "HTTP",
      path: path ?? "/",
      headers: (httpHeaders ?? []).map((header) => ({ name: header.name, value: header.value })),
    });
  }
  if (probe.tcpSocket) return await target.network.probe({ type: "tcp", ip: probe.tcpSocket.host || target.ip, port: resolvePort(probe.tcpSocket.port, target.container), timeoutMs });
  if (probe.grpc) return await target.network.probe({ type: "grpc", ip: target.ip, port: probe.grpc.port, timeoutMs, service: probe.grpc.service ?? "" });
  throw new Error(`missing probe handler for container ${target.container.name}`);
}

/** A port number, or the containerPort of that name. */
export function resolvePort(port: number | string, container: Container): number {
  const number = Number(port);
  const found = Number.isInteger(number) ? number : container.ports?.find(({ name }) => name === port)?.containerPort;
  if (found === undefined || found < 1 || found > 65535) throw new Error(`couldn't resolve port ${JSON.stringify(port)} of container ${container.name}`);
  return found;
}

/** Runs a command beside the container's program; output (both streams) is cut at 10 KiB. */
export async function runInContainer(argv: readonly string[], timeoutMs: number, { process, clock }: Target): Promise<{ exitCode: number; output: string; timedOut: boolean }> {
  const child = await process.exec({ argv, stdin: false, tty: false, fromManifest: true });
  let output = Buffer.alloc(0);
  const collect = (chunk: Buffer) => {
    if (output.length < outputBytesMax) output = Buffer.concat([output, chunk.subarray(0, outputBytesMax - output.length)]);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const read = [child.stdout, child.stderr].map((stream) => new Promise<void>((resolve) => stream.once("close", resolve).once("end", resolve)));
  const timeout = new AbortController();
  try {
    const exitCode = await Promise.race([child.exited, delay(clock, timeoutMs, timeout.signal).then(() => "timeout" as const)]);
    if (exitCode === "timeout") {
      child.kill();
      return { exitCode: -1, output: output.toString("utf8"), timedOut: true };
    }
    // What it said last may still be on its way; a child it left behind may hold the pipe for ever.
    await Promise.race([Promise.all(read), delay(clock, lastWordsMs, timeout.signal)]);
    return { exitCode, output: output.toString("utf8"), timedOut: false };
  } finally {
    timeout.abort();
  }
}
