import { randomUUID } from "node:crypto";
import { decodeProtobuf, isProtobuf } from "../../api/protobuf.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { internalError, type Status } from "../../api/status.ts";
import { parseYaml } from "../../api/yaml.ts";
import type { Clock } from "../../base/clock.ts";
import { bodyTap } from "../http/body.ts";
import type { Request, Response } from "../http/exchange.ts";
import type { RequestInfo } from "../http/request-info.ts";
import type { Identity } from "../rest/context.ts";
import { AuditLog, type AuditLogOptions } from "./log.ts";
import { type AuditPolicy, judge, readAuditPolicy, type Stage, type Verdict } from "./policy.ts";

export interface AuditOptions {
  policy: AuditPolicy;
  log: AuditLog;
  clock: Clock;
  registry: KindRegistry;
}

/**
 * Records requests as the policy says, an Event of audit.k8s.io/v1 a line.
 * Source: k8s.io/apiserver/pkg/{audit,endpoints/filters/audit.go}.
 */
export class Audit {
  readonly #options: AuditOptions;

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  /** Undefined when nothing of it is recorded. Throws StatusError when it should be and cannot. `user` is who asked, before impersonation. */
  begin(request: Request, info: RequestInfo, user: Identity): AuditRecord | undefined {
    const verdict = judge(this.#options.policy, info, user);
    if (verdict.level === "None") return undefined;
    if (!this.#options.log.takes) throw internalError("the audit log cannot be written, and this request has to be recorded");
    return new AuditRecord(this.#options, verdict, request, info, user);
  }
}

const microseconds = (ms: number): string => new Date(ms).toISOString().replace("Z", "000Z");

/** One request on its way: the stages it passes are lines in the log. */
export class AuditRecord {
  /** What authorization and admission have to say. */
  readonly annotations: Record<string, string> = {};
  readonly #options: AuditOptions;
  readonly #verdict: Verdict;
  readonly #event: Record<string, unknown>;
  #requestBody: Buffer | undefined;
  #responseBody: Buffer | undefined;
  #ended = false;

  constructor(options: AuditOptions, verdict: Verdict, request: Request, info: RequestInfo, user: Identity) {
    this.#options = options;
    this.#verdict = verdict;
    const { resource } = info;
    const forwarded = String(request.headers["x-forwarded-for"] ?? "").split(",").map((item) => item.trim()).filter((item) => item !== "");
    const address = request.socket?.remoteAddress?.replace(/^::ffff:/, "");
    const id = String(request.headers["audit-id"] ?? "").slice(0, 64);
    this.#event = {
      kind: "Event",
      apiVersion: "audit.k8s.io/v1",
      level: verdict.level,
      auditID: id || randomUUID(),
      stage: "RequestReceived",
      requestURI: request.url ?? info.path,
      verb: info.verb,
      user: userOf(user),
      sourceIPs: [...forwarded, ...(address ? [address] : [])],
      userAgent: String(request.headers["user-agent"] ?? ""),
      ...(resource && {
        objectRef: {
          resource: resource.resource,
          ...(resource.namespace !== undefined && { namespace: resource.namespace }),
          ...(resource.name !== undefined && { name: resource.name }),
          ...(resource.group !== "" && { apiGroup: resource.group }),
          apiVersion: resource.version,
          ...(resource.subresource !== undefined && { subresource: resource.subresource }),
        },
      }),
      requestReceivedTimestamp: microseconds(options.clock.now()),
    };
    if (verdict.level === "Request" || verdict.level === "RequestResponse") (request as { [bodyTap]?: (bytes: Buffer) => void })[bodyTap] = (bytes) => (this.#requestBody = bytes);
    // What is recorded must be readable.
    if (verdict.level === "RequestResponse") delete request.headers["accept-encoding"];
    this.#write("RequestReceived");
  }

  impersonates(user: Identity): void {
    this.#event["impersonatedUser"] = userOf(user);
  }

  /** Follows the answer to its end. Watches and other streams are two lines, since they may last. */
  follow(response: Response, isLong: boolean): void {
    const answer = response as { end: (...parts: unknown[]) => unknown; writeHead: (...parts: unknown[]) => unknown; statusCode: number };
    const { end, writeHead } = answer;
    answer.end = (...parts) => {
      const [chunk] = parts;
      if (Buffer.isBuffer(chunk) && !isLong && (this.#verdict.level === "RequestResponse" || response.statusCode >= 400)) this.#responseBody = chunk;
      return end.apply(response, parts);
    };
    if (isLong) {
      answer.writeHead = (...parts) => {
        const given = writeHead.apply(response, parts);
        this.started(response.statusCode);
        return given;
      };
    }
    response.once("close", () => this.complete(response.statusCode));
  }

  started(code: number): void {
    this.#event["responseStatus"] = { metadata: {}, code };
    this.#write("ResponseStarted");
  }

  complete(code: number, failure?: Status): void {
    if (this.#ended) return;
    this.#ended = true;
    const body = parse(this.#responseBody);
    const failed = failure ?? (code >= 400 && (body as { kind?: string } | undefined)?.kind === "Status" ? (body as Status) : undefined);
    this.#event["responseStatus"] = { metadata: {}, ...(failed && { status: failed.status, message: failed.message, reason: failed.reason, ...(failed.details && { details: failed.details }) }), code };
    const sent = this.#requestBody?.length ? this.#sent(this.#requestBody) : undefined;
    if (sent !== undefined) this.#event["requestObject"] = this.#shown(sent);
    if (this.#verdict.level === "RequestResponse" && body !== undefined) this.#event["responseObject"] = this.#shown(body);
    if (Object.keys(this.annotations).length > 0) this.#event["annotations"] = this.annotations;
    this.#write("ResponseComplete");
  }

  /** JSON, YAML of an apply, or what Go clients send. */
  #sent(bytes: Buffer): unknown {
    try {
      if (isProtobuf(bytes)) return decodeProtobuf(bytes, this.#options.registry);
      return parse(bytes) ?? parseYaml(bytes.toString("utf8"))[0];
    } catch {
      return undefined;
    }
  }

  #shown(value: unknown): unknown {
    if (!this.#verdict.omitManagedFields || typeof value !== "object" || value === null) return value;
    const { metadata, items, ...rest } = value as { metadata?: Record<string, unknown>; items?: unknown[] };
    const { managedFields: _, ...kept } = metadata ?? {};
    return { ...rest, ...(metadata && { metadata: kept }), ...(Array.isArray(items) && { items: items.map((item) => this.#shown(item)) }) };
  }

  #write(stage: Stage): void {
    if (this.#verdict.omitted.has(stage)) return;
    this.#options.log.write(JSON.stringify({ ...this.#event, stage, stageTimestamp: microseconds(this.#options.clock.now()) }));
  }
}

const userOf = ({ name, uid, groups, extra }: Identity): object => ({ ...(name !== "" && { username: name }), ...(uid !== undefined && { uid }), ...(groups.length > 0 && { groups }), ...(extra && { extra }) });

function parse(bytes: Buffer | undefined): unknown {
  if (!bytes) return undefined;
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Throws WherryError ACCESS_CONFIG_INVALID. `close` resolves when all is in the file. */
export function openAudit(policyFile: string, options: AuditLogOptions & { registry: KindRegistry }): { audit: Audit; close(): Promise<void> } {
  const policy = readAuditPolicy(policyFile);
  const log = new AuditLog(options);
  return { audit: new Audit({ policy, log, clock: options.clock, registry: options.registry }), close: () => log.close() };
}
