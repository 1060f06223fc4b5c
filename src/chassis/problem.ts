import { STATUS_CODES } from "node:http";

/**
 * Errors as clients get them: problem documents, `application/problem+json`. Source: RFC 9457.
 *
 *   throw new Problem(409, "the order was shipped already")
 *   throw new Problem(422, "out of stock", { type: "https://shop.example/problems/stock", extensions: { left: 0 } })
 */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail?: string;
  /** The occurrence: the path that was asked for. */
  instance?: string;
  /** What exactly is wrong with the request: where (a JSON pointer into the body, or a parameter's name), and how. */
  errors?: FieldProblem[];
  [extension: string]: unknown;
}
export interface FieldProblem {
  detail: string;
  /** RFC 6901, as a fragment: "#/items/0/quantity". */
  pointer?: string;
  /** Of what is not in the body: its name, and where it is. */
  parameter?: string;
  in?: "query" | "path" | "header";
}

export interface ProblemOptions extends ErrorOptions {
  type?: string;
  title?: string;
  errors?: FieldProblem[];
  extensions?: Record<string, unknown>;
  /** Sent as Retry-After. */
  retryAfterSeconds?: number;
}

/** Thrown by a handler, this is the answer; `detail` is shown to clients. */
export class Problem extends Error {
  /** Fastify's name for it. */
  readonly statusCode: number;
  readonly options: ProblemOptions;

  constructor(status: number, detail: string, options: ProblemOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Problem";
    this.statusCode = status;
    this.options = options;
  }
}

export const problemType = "application/problem+json";

/** What of an error a client may know. Of a 500 nothing: its text is for the log. */
export function problemOf(error: unknown, instance?: string): { document: ProblemDocument; retryAfterSeconds?: number } {
  const { statusCode, validation, validationContext, message, expose } = (typeof error === "object" && error !== null ? error : {}) as FailedRequest;
  if (error instanceof Problem) {
    const { type = "about:blank", title = titleOf(error.statusCode), errors, extensions, retryAfterSeconds } = error.options;
    return {
      document: { ...extensions, type, title, status: error.statusCode, detail: error.message, ...(instance !== undefined && { instance }), ...(errors && { errors }) },
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    };
  }
  if (Array.isArray(validation)) {
    const errors = validation.map((failure) => fieldProblemOf(failure, validationContext ?? "body"));
    return { document: documentOf(400, errors.map((problem) => `${nameOf(problem)} ${problem.detail}`).join("; "), instance, errors) };
  }
  const status = statusCode !== undefined && Number.isInteger(statusCode) && statusCode >= 400 && statusCode <= 599 ? statusCode : 500;
  return { document: documentOf(status, status < 500 || expose === true ? message : undefined, instance) };
}

interface FailedRequest {
  statusCode?: number;
  message?: string;
  /** Also of a 5xx the message may be shown. */
  expose?: boolean;
  validation?: AjvError[];
  validationContext?: string;
}
interface AjvError {
  keyword: string;
  instancePath: string;
  params: Record<string, unknown>;
  message?: string;
}

export const titleOf = (status: number): string => STATUS_CODES[status] ?? (status < 500 ? "Client Error" : "Server Error");

function documentOf(status: number, detail: string | undefined, instance: string | undefined, errors?: FieldProblem[]): ProblemDocument {
  return { type: "about:blank", title: titleOf(status), status, ...(detail && { detail }), ...(instance !== undefined && { instance }), ...(errors && { errors }) };
}

const places: Record<string, "query" | "path" | "header"> = { querystring: "query", params: "path", headers: "header" };

/** Ajv tells of the object what is wrong with its field: here it is the field. */
function fieldProblemOf({ keyword, instancePath, params, message = "is not valid" }: AjvError, context: string): FieldProblem {
  let path = instancePath;
  let detail = message;
  if (keyword === "required") [path, detail] = [`${path}/${pointerPart(String(params["missingProperty"]))}`, "is required"];
  else if (keyword === "additionalProperties") [path, detail] = [`${path}/${pointerPart(String(params["additionalProperty"]))}`, "is not a field"];
  else if (keyword === "enum") detail = `must be one of ${(params["allowedValues"] as unknown[]).map((value) => JSON.stringify(value)).join(", ")}`;
  const place = places[context];
  return place ? { detail, parameter: path.slice(1), in: place } : { detail, pointer: `#${path}` };
}

const pointerPart = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");
const nameOf = ({ pointer, parameter, in: place }: FieldProblem): string => (parameter !== undefined ? `${place} parameter '${parameter}'` : pointer === "#" ? "the body" : `'${pointer!.slice(2).replaceAll("/", ".")}'`);
