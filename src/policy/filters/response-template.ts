import type { HttpFilter } from "../../api/traffic.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";
import { isOfRange } from "../media-type.ts";
import { compilePathNames } from "../path-names.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { globalsOf } from "../template/globals.ts";
import type { Template } from "../template/render.ts";
import { textOf } from "../template/values.ts";
import { bytesOf, compileTemplates, dateOf, headersIn, reasonOf } from "./request-template.ts";

type Config = Extract<HttpFilter, { type: "responseTemplate" }>;

/** What the client gets is made of the upstream's answer: by its status another one, by a template another body. */
export const responseTemplate: Filter<Config> = (config, tools) => {
  const bytesMax = bytesOf(config.bytesMax);
  const pathOf = compilePathNames(config.path);
  const responses = config.responses.map((response, i) => at(`responses[${i}]`, () => compileResponse(response)));
  return (next) => (exchange, outcome) => {
    const request = asLeft(exchange);
    // What is packed could not be read.
    if (responses.some(({ templates }) => templates.length > 0)) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove: ["accept-encoding"], set: [], add: [] });
    exchange.takeAnswer((response, sink, drained) => {
      void drained;
      if (response.isLocal && !config.ofLocal) return undefined;
      const chosen = responses.find(({ matches }) => matches(response.status));
      if (!chosen) return undefined;
      const status = chosen.status ?? response.status;
      const template = templateFor(exchange.request.header("accept"), chosen.templates);
      if (!template && status === response.status) return undefined;
      if (!template) return { get isBlocked() { return sink.isBlocked; }, begin: (head) => sink.begin({ ...head, status }), content: sink.content, end: sink.end, fail: sink.fail };
      return new Rendering(exchange, sink, { status, bytesMax, type: template[0], render: (body) => {
        const globals = globalsOf(exchange, request, body, pathOf(exchange), config.stage, dateOf(tools));
        const text = template[1]({ names: globals.names, charactersMax: bytesMax });
        return { text, response: globals.overrides.response, headers: globals.overrides.responseHeaders };
      } });
    });
    next(exchange, outcome);
  };
};

function compileResponse({ pattern: source, status, templates }: Config["responses"][number]): { matches(status: number): boolean; status: number | undefined; templates: (readonly [string, Template])[] } {
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status <= 599)) throw new PolicyError("status", status, "must be between 200 and 599");
  const pattern = source === undefined ? undefined : compilePattern(source, { whole: true }, "pattern");
  return { matches: pattern ? (given) => pattern.test(String(given)) : () => true, status, templates: compileTemplates(templates ?? {}, "templates") };
}

/** The first that the client accepts, else the first: an answer of another kind tells more than none. */
function templateFor(accept: string | undefined, templates: readonly (readonly [type: string, template: Template])[]): readonly [string, Template] | undefined {
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
  /** Media type of what is made. */
  type: string;
  render(body: string): { text: string; response: Record<string, unknown>; headers: Record<string, unknown> };
}

/** An answer that is held until it is whole, and then another. */
class Rendering implements AnswerSink {
  readonly #exchange: Exchange;
  readonly #next: AnswerSink;
  readonly #options: RenderingOptions;
  #head: AnswerHead | undefined;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #isOver = false;

  constructor(exchange: Exchange, next: AnswerSink, options: RenderingOptions) {
    this.#exchange = exchange;
    this.#next = next;
    this.#options = options;
  }
  get isBlocked(): boolean {
    return this.#next.isBlocked;
  }
  begin(head: AnswerHead): void {
    const coding = head.headers.find(([name]) => name === "content-encoding")?.[1];
    if (coding !== undefined && coding.toLowerCase() !== "identity") return this.fail("TF", `the answer is encoded (${coding}), and no template can read it`);
    if ((head.length ?? 0) > this.#options.bytesMax && this.#exchange.request.method !== "HEAD") return this.fail("TF", `the answer is larger than ${this.#options.bytesMax} bytes, and no template is given it`);
    this.#head = head;
  }
  content(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#bytes += bytes.length;
    if (this.#bytes > this.#options.bytesMax) return this.fail("TF", `the answer is larger than ${this.#options.bytesMax} bytes, and no template is given it`);
    if (!this.#exchange.hold(bytes.length)) return this.fail("OM", "too many bodies are held here");
    this.#pieces.push(Buffer.from(bytes));
  }
  end(trailers?: readonly (readonly [name: string, value: string])[]): void {
    if (this.#isOver) return;
    const { status, type, render } = this.#options;
    const { method } = this.#exchange.request;
    const given = this.#head!;
    let head: AnswerHead;
    let body: Buffer;
    try {
      // Without a body there is nothing to read: its head alone is another.
      const isEmpty = method === "HEAD" || given.status === 304;
      const { text, response, headers } = render(isEmpty ? "" : Buffer.concat(this.#pieces).toString("utf8"));
      body = Buffer.from(text);
      const own = Object.hasOwn(response, "status") ? Number(textOf(response["status"], { step() {}, make() {}, made: (made) => made, fail: (message) => { throw new PolicyError("status", "", message); } })) : status;
      if (!(Number.isInteger(own) && own >= 200 && own <= 599)) throw new PolicyError("$context.responseOverride.status", response["status"], "must be between 200 and 599");
      const set = compileEdits({ set: headersIn(headers) }).set;
      const gone = new Set(["content-type", "etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges", "content-range", ...set.map(([name]) => name)]);
      const isTyped = set.some(([name]) => name === "content-type");
      head = { status: given.status === 304 ? 304 : own, headers: [...given.headers.filter(([name]) => !gone.has(name)), ...(isTyped ? [] : [["content-type", type] as [string, string]]), ...set.map(([name, value]): [string, string] => [name, value])], length: isEmpty ? undefined : body.length };
    } catch (error) {
      // The client learns that, the log why.
      (this.#exchange.notes ??= []).push(reasonOf(error));
      return this.fail("TF", "the answer could not be transformed");
    }
    this.#isOver = true;
    this.#next.begin(head);
    if (body.length > 0) this.#next.content(body);
    this.#next.end(trailers);
  }
  fail(flag: Parameters<AnswerSink["fail"]>[0], reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#pieces = [];
    this.#next.fail(flag, reason);
  }
}
