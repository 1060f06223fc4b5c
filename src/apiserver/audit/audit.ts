import { randomUUID } from "node:crypto";
import { isIP } from "node:net";
import { decodeProtobuf, isProtobuf } from "../../api/protobuf.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { internalError, type Status } from "../../api/status.ts";
import { parseYaml } from "../../api/yaml.ts";
import type { Clock } from "../../base/clock.ts";
import { bodyTap } from "../http/body.ts";
import type { Request, Response } from "../http/exchange.ts";
import type { RequestInfo } from "../http/request-info.ts";
import type { Identity } from "../rest/context.ts";
import { decode } from "../rest/decode.ts";
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

  /**
   * Undefined when nothing of it is recorded. Throws StatusError when it should be and cannot. `user` is who asked,
   * before impersonation; undefined: who proved nothing and is refused.
   */
  begin(request: Request, info: RequestInfo, user: Identity | undefined): AuditRecord | undefined {
    const verdict = judge(this.#options.policy, info, user ?? nobody);
    if (verdict.level === "None") return undefined;
    if (!this.#options.log.takes) throw internalError("the audit log cannot be written, and this request has to be recorded");
    return new AuditRecord(this.#options, verdict, request, info, user);
  }
}

/** Verbs whose body is the object itself: what it says of its name completes what the URL says. */
const named = new Set(["create", "update"]);
/** What is kept from who may only see that something was asked. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go. */
const patchAnnotation = "patch.webhook.admission.k8s.io/";
/** A Status is short; what is longer is an object that was deleted. */
const statusBytesMax = 16 * 1024;

const nobody: Identity = { name: "", groups: [] };

const microseconds = (ms: number): string => new Date(ms).toISOString().replace("Z", "000Z");

/** One request on its way: the stages it passes are lines in the log. */
export class AuditRecord {
  /** What authorization and admission have to say. */
  readonly annotations: Record<string, string> = {};
  readonly #options: AuditOptions;
  readonly #verdict: Verdict;
  readonly #info: RequestInfo;
  readonly #event: Record<string, unknown>;
  /** Nobody was recognised: one line says so. Source: k8s.io/apiserver/pkg/endpoints/filters/authn_audit.go. */
  readonly #isNobody: boolean;
  #requestBody: Buffer | undefined;
  #responseBody: Buffer | undefined;
  #ended = false;

  constructor(options: AuditOptions, verdict: Verdict, request: Request, info: RequestInfo, user: Identity | undefined) {
    this.#options = options;
    this.#isNobody = user === undefined;
    this.#verdict = verdict;
    this.#info = info;
    const { resource } = info;
    const id = String(request.headers["audit-id"] ?? "").slice(0, 64);
    this.#event = {
      kind: "Event",
      apiVersion: "audit.k8s.io/v1",
      level: verdict.level,
      auditID: id || randomUUID(),
      stage: "RequestReceived",
      requestURI: request.url ?? info.path,
      verb: info.verb,
      user: userOf(user ?? nobody),
      sourceIPs: sourcesOf(request),
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
    if (this.#showsRequest || named.has(info.verb)) (request as { [bodyTap]?: (bytes: Buffer) => void })[bodyTap] = (bytes) => (this.#requestBody = bytes);
    // What is recorded must be readable.
    if (verdict.level === "RequestResponse") delete request.headers["accept-encoding"];
    if (user) this.#write("RequestReceived");
  }

  /** Also told to the client, in the header Audit-Id. */
  get id(): string {
    return this.#event["auditID"] as string;
  }

  get #showsRequest(): boolean {
    return this.#verdict.level === "Request" || this.#verdict.level === "RequestResponse";
  }

  impersonates(user: Identity): void {
    this.#event["impersonatedUser"] = userOf(user);
  }

  /** Follows the answer to its end. Watches and other streams are two lines, since they may last. */
  follow(response: Response, isLong: boolean): void {
    (response as { setHeader(name: string, value: string): void }).setHeader("audit-id", this.id);
    const answer = response as { end: (...parts: unknown[]) => unknown; writeHead: (...parts: unknown[]) => unknown; statusCode: number };
    const { end, writeHead } = answer;
    answer.end = (...parts) => {
      const [chunk] = parts;
      const mayBeStatus = response.statusCode >= 400 || (this.#event["verb"] === "delete" && Buffer.isBuffer(chunk) && chunk.length <= statusBytesMax);
      if (Buffer.isBuffer(chunk) && (isLong ? response.statusCode >= 400 : this.#verdict.level === "RequestResponse" || mayBeStatus)) this.#responseBody = chunk;
      // What was refused says so from its beginning, in both lines.
      if (isLong && response.statusCode >= 400) this.started(response.statusCode);
      return end.apply(response, parts);
    };
    if (isLong) {
      answer.writeHead = (...parts) => {
        const given = writeHead.apply(response, parts);
        if (response.statusCode < 400) this.started(response.statusCode);
        return given;
      };
    }
    response.once("close", () => this.complete(response.statusCode));
  }

  started(code: number): void {
    this.#answered(code, undefined);
    this.#write("ResponseStarted");
  }

  #answered(code: number, failure: Status | undefined): void {
    const body = parse(this.#responseBody);
    const status = failure ?? ((body as { kind?: string } | undefined)?.kind === "Status" ? (body as Status) : undefined);
    this.#event["responseStatus"] = { metadata: {}, ...(status && { status: status.status, message: status.message, reason: status.reason, ...(status.details && { details: status.details }) }), code };
    if (this.#verdict.level === "RequestResponse" && body !== undefined && !this.#isNobody) this.#event["responseObject"] = this.#shown(body);
  }

  complete(code: number, failure?: Status): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#answered(code, failure);
    if (this.#isNobody) return this.#write("ResponseStarted");
    const sent = this.#requestBody?.length ? this.#sent(this.#requestBody) : undefined;
    if (named.has(this.#event["verb"] as string)) this.#completeName(sent);
    if (sent !== undefined && this.#showsRequest) this.#event["requestObject"] = this.#shown(sent);
    this.#write("ResponseComplete");
  }

  #completeName(sent: unknown): void {
    const reference = this.#event["objectRef"] as Record<string, string> | undefined;
    const metadata = (sent as { metadata?: Record<string, unknown> } | undefined)?.metadata;
    if (!reference || typeof metadata !== "object" || metadata === null) return;
    for (const field of ["namespace", "name", "uid", "resourceVersion"]) {
      const value = metadata[field];
      if (typeof value === "string" && value !== "") reference[field] ??= value;
    }
  }

  /** JSON, YAML of an apply, or what Go clients send. */
  #sent(bytes: Buffer): unknown {
    try {
      if (isProtobuf(bytes)) return this.#understood(decodeProtobuf(bytes, this.#options.registry));
      return this.#understood(parse(bytes) ?? parseYaml(bytes.toString("utf8"))[0]);
    } catch {
      return undefined;
    }
  }

  /** An object as the server reads it, defaults included, as upstream shows it; a patch, and what cannot be read, as they came. */
  #understood(sent: unknown): unknown {
    const { verb, resource } = this.#info;
    if (!this.#showsRequest || !named.has(verb) || !resource?.kind || resource.subresource !== undefined) return sent;
    try {
      const object = decode(resource.kind, sent, { fieldValidation: "Ignore", warnings: [] }, false);
      resource.kind.defaults?.(object);
      return object;
    } catch {
      return sent;
    }
  }

  #shown(value: unknown): unknown {
    if (!this.#verdict.omitManagedFields || typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const { metadata, items, ...rest } = value as { metadata?: Record<string, unknown>; items?: unknown[] };
    const { managedFields: _, ...kept } = metadata ?? {};
    return { ...rest, ...(metadata && { metadata: kept }), ...(Array.isArray(items) && { items: items.map((item) => this.#shown(item)) }) };
  }

  #write(stage: Stage): void {
    if (this.#verdict.omitted.has(stage)) return;
    const annotations = Object.entries(this.annotations).filter(([key]) => this.#showsRequest || !key.startsWith(patchAnnotation));
    if (annotations.length > 0) this.#event["annotations"] = Object.fromEntries(annotations);
    this.#options.log.write(JSON.stringify({ ...this.#event, stage, stageTimestamp: microseconds(this.#options.clock.now()) }));
  }
}

/** Who sent it, the first first, as proxies say; the address that we see comes last. */
function sourcesOf({ headers, socket }: Request): string[] {
  const said = [...String(headers["x-forwarded-for"] ?? "").split(","), String(headers["x-real-ip"] ?? "")].map((item) => item.trim()).filter((item) => isIP(item) !== 0);
  const address = socket?.remoteAddress?.replace(/^::ffff:/, "");
  return [...said, ...(address ? [address] : [])].filter((item, index, all) => item !== all[index - 1]);
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
