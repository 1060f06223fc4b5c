import type { HttpFilter } from "../../api/traffic.ts";
import type { MappedResponse } from "../../api/traffic-content.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";
import { type CompiledField, compileHeaderFields, type Mapping, mappedHeaders, readsBody } from "../mapped-value.ts";
import { isOfRange } from "../media-type.ts";
import { Passing } from "../passing.ts";
import { compilePathNames } from "../path-names.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { Replacing } from "../replacing.ts";
import { asLeft } from "../request-edits.ts";
import { Budget } from "../template/budget.ts";
import { globalsOf } from "../template/globals.ts";
import type { Template } from "../template/render.ts";
import { textOf } from "../template/values.ts";
import { bytesOf, compileTemplates, dateOf, headersIn, reasonOf } from "./request-template.ts";

type Config = Extract<HttpFilter, { type: "responseTemplate" }>;

/** Of an upstream's headers, these go on where only those do that are named: what the body is, and what every answer says. */
const passing = new Set(["content-type", "content-encoding", "content-language", "content-range", "date", "retry-after", "vary", "x-content-type-options"]);

/** What the client gets is made of the upstream's answer: by its status another one, by a template another body. */
export const responseTemplate: Filter<Config> = (config, tools) => {
  const { closed, stage } = config;
  const bytesMax = bytesOf(config.bytesMax);
  const pathOf = compilePathNames(config.path);
  const responses = config.responses.map((response, i) => at(`responses[${i}]`, () => compileResponse(response)));
  const wantsPlain = responses.some(({ templates, wantsBody }) => templates.length > 0 || wantsBody);
  return (next) => (exchange, outcome) => {
    const request = asLeft(exchange);
    // What is packed could not be read.
    if (wantsPlain) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove: ["accept-encoding"], set: [], add: [] });
    exchange.takeAnswer((response, sink) => {
      if (response.isLocal && !config.ofLocal) return undefined;
      const chosen = responses.find(({ matches }) => matches(response.status));
      if (!chosen) return closed ? new Refused(exchange, sink, response.status) : undefined;
      const status = chosen.status ?? response.status;
      const template = templateFor(exchange.request.header("accept"), chosen.templates);
      const editsOf = (body: string) => (given: AnswerHead["headers"]): AnswerHead["headers"] => {
        if (!closed && chosen.fields.length === 0) return given;
        const mapping: Mapping = { exchange, request, path: pathOf(exchange), body, stage, nowMs: dateOf(tools), response: { header: (name) => given.filter(([known]) => known === name).map(([, value]) => value).join(", ") || undefined } };
        return mappedHeaders(closed ? given.filter(([name]) => passing.has(name)) : given, chosen.fields, mapping);
      };
      if (!template && !chosen.wantsBody) {
        if (status === response.status && !closed && chosen.fields.length === 0) return undefined;
        return new Replacing(sink, (head) => ({ ...head, status, headers: editsOf("")(head.headers) }));
      }
      return new Rendering(exchange, sink, { status, bytesMax, type: template?.[0], edits: editsOf, render: (body) => {
        if (!template) return { text: body, response: {}, headers: {} };
        const globals = globalsOf(exchange, request, body, pathOf(exchange), stage, dateOf(tools));
        const text = template[1]({ names: globals.names, charactersMax: bytesMax });
        return { text, response: globals.overrides.response, headers: globals.overrides.responseHeaders };
      } });
    });
    next(exchange, outcome);
  };
};

export interface CompiledResponse {
  matches(status: number): boolean;
  status: number | undefined;
  templates: (readonly [mediaType: string, template: Template])[];
  fields: CompiledField[];
  wantsBody: boolean;
}

export function compileResponse({ pattern: source, status, templates, headers }: MappedResponse): CompiledResponse {
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status <= 599)) throw new PolicyError("status", status, "must be between 200 and 599");
  const pattern = source === undefined ? undefined : compilePattern(source, { whole: true }, "pattern");
  return { matches: pattern ? (given) => pattern.test(String(given)) : () => true, status, templates: compileTemplates(templates ?? {}, "templates"), fields: compileHeaderFields(headers, "headers"), wantsBody: (headers ?? []).some(({ from }) => readsBody(from)) };
}

/** What a response's template has set instead of its status. @throws PolicyError */
export function statusIn(response: Record<string, unknown>, otherwise: number): number {
  const status = Object.hasOwn(response, "status") ? Number(textOf(response["status"], new Budget())) : otherwise;
  if (!(Number.isInteger(status) && status >= 200 && status <= 599)) throw new PolicyError("$context.responseOverride.status", response["status"], "must be between 200 and 599");
  return status;
}

/** An answer that nobody has foreseen tells the client nothing of itself. */
class Refused extends Passing {
  readonly #exchange: Exchange;
  readonly #status: number;
  #isOver = false;

  constructor(exchange: Exchange, next: AnswerSink, status: number) {
    super(next);
    this.#exchange = exchange;
    this.#status = status;
  }
  override begin(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    (this.#exchange.notes ??= []).push(`no response of the integration is for status ${this.#status}`);
    super.fail("TF", "the answer could not be transformed");
  }
  override content(): void {}
  override end(): void {}
  override fail(...why: Parameters<AnswerSink["fail"]>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    super.fail(...why);
  }
}

/** The first that the client accepts, else the first: an answer of another kind tells more than none. */
export function templateFor(accept: string | undefined, templates: readonly (readonly [type: string, template: Template])[]): readonly [string, Template] | undefined {
  if (templates.length < 2 || accept === undefined) return templates[0];
  for (const range of accept.split(",")) {
    const wanted = range.split(";")[0]!.trim().toLowerCase();
    const found = templates.find(([type]) => isOfRange(type, wanted));
    if (found) return found;
  }
  return templates[0];
}

interface RenderingOptions {
  status: number;
  bytesMax: number;
  /** Media type of what is made; undefined: it stays. */
  type: string | undefined;
  edits(body: string): (headers: AnswerHead["headers"]) => AnswerHead["headers"];
  render(body: string): { text: string; response: Record<string, unknown>; headers: Record<string, unknown> };
}

/** They say something of a body that is not the same any more. */
const ofBody = new Set(["content-type", "etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges", "content-range"]);

/** An answer that is held until it is whole, and then another. */
class Rendering extends Passing {
  readonly #exchange: Exchange;
  readonly #options: RenderingOptions;
  #head: AnswerHead | undefined;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isOver = false;

  constructor(exchange: Exchange, next: AnswerSink, options: RenderingOptions) {
    super(next);
    this.#exchange = exchange;
    this.#options = options;
  }
  override begin(head: AnswerHead): void {
    const coding = head.headers.find(([name]) => name === "content-encoding")?.[1];
    if (coding !== undefined && coding.toLowerCase() !== "identity") return this.fail("TF", `the answer is encoded (${coding}), and no template can read it`);
    if ((head.length ?? 0) > this.#options.bytesMax && this.#exchange.request.method !== "HEAD") return this.fail("TF", `the answer is larger than ${this.#options.bytesMax} bytes, and no template is given it`);
    this.#head = head;
  }
  override content(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#bytes += bytes.length;
    if (this.#bytes > this.#options.bytesMax) return this.fail("TF", `the answer is larger than ${this.#options.bytesMax} bytes, and no template is given it`);
    if (!this.#exchange.hold(bytes.length)) return this.fail("OM", "too many bodies are held here");
    this.#pieces.push(Buffer.from(bytes));
  }
  override end(trailers?: readonly (readonly [name: string, value: string])[]): void {
    if (this.#isOver) return;
    const { status, type, render, edits } = this.#options;
    const { method } = this.#exchange.request;
    const given = this.#head!;
    let head: AnswerHead;
    let body: Buffer;
    try {
      // Without a body there is nothing to read: its head alone is another.
      const isEmpty = method === "HEAD" || given.status === 304;
      const came = isEmpty ? "" : Buffer.concat(this.#pieces).toString("utf8");
      const { text, response, headers } = render(came);
      body = type === undefined ? Buffer.concat(this.#pieces) : Buffer.from(text);
      const own = statusIn(response, status);
      const set = compileEdits({ set: headersIn(headers) }).set;
      const mapped = edits(came)(given.headers.filter(([name]) => type === undefined || !ofBody.has(name) || name === "content-type"));
      const wasTyped = given.headers.find(([name]) => name === "content-type")?.[1];
      // A type that a mapping has made stays; the upstream's was of its own body.
      const isMapped = mapped.some(([name, value]) => name === "content-type" && value !== wasTyped);
      const kept = mapped.filter(([name]) => (name !== "content-type" || type === undefined || isMapped) && !set.some(([other]) => other === name));
      const isTyped = type === undefined || isMapped || set.some(([name]) => name === "content-type");
      head = { status: given.status === 304 ? 304 : own, headers: [...kept, ...(isTyped ? [] : [["content-type", type] as [string, string]]), ...set.map(([name, value]): [string, string] => [name, value])], length: isEmpty ? undefined : body.length };
    } catch (error) {
      // The client learns that, the log why.
      (this.#exchange.notes ??= []).push(reasonOf(error));
      return this.fail("TF", "the answer could not be transformed");
    }
    this.#isOver = true;
    super.begin(head);
    if (body.length > 0) super.content(body);
    super.end(trailers);
  }
  override fail(flag: Parameters<AnswerSink["fail"]>[0], reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pieces = [];
    super.fail(flag, reason);
  }
}
