/** Filters that look into requests and answers: whether they are as an API describes them, and what becomes of them. */
export type ContentFilter = ValidateFilter | RequestTemplateFilter | ResponseTemplateFilter | RequestRulesFilter | RequestParametersFilter | MockFilter | GatewayResponsesFilter;

export interface ValidateFilter {
  type: "validate";
  /** What `#/…` refers into in all schemas below: the OpenAPI document, or as much of it as they need. Absent: each schema itself. */
  document?: unknown;
  /** "2020-12" (OpenAPI 3.1) unless said, or unless a schema's `$schema` says it. */
  dialect?: "2020-12" | "draft-07" | "draft-04" | "openapi-3.0";
  /** Absent: bodies are not looked at. Keys of `content` are media types: application/json, application/*+json, application/x-www-form-urlencoded, text/…. */
  body?: { content: { [mediaType: string]: unknown }; required?: boolean; /** 1 MB unless said. */ bytesMax?: number };
  parameters?: RequestParameter[];
  /** For parameters in the path. */
  path?: PathNames;
  /** Refuses parameters of the query that are not named. */
  closedQuery?: boolean;
  /** Formats that are not known here are passed over, instead of refused with the whole filter. */
  ignoresUnknownFormats?: boolean;
  /** The access log says what would be refused, and nothing is. */
  dryRun?: boolean;
}

export interface RequestTemplateFilter {
  type: "requestTemplate";
  /** Velocity, by media type of the request. */
  templates: { [mediaType: string]: string };
  /** Of other media types: the body goes on as it is; or only where there are no templates; or never (415). */
  passthrough: "whenNoMatch" | "whenNoTemplates" | "never";
  /** What the upstream is asked with, if it is not what came: whether there is a body goes by it. */
  method?: string;
  path?: PathNames;
  stage?: TemplateStage;
  /** 1 MB unless said. */
  bytesMax?: number;
}

export interface ResponseTemplateFilter {
  type: "responseTemplate";
  /** The first whose pattern is the status of the answer. What none is for goes on as it is, or is refused where it is `closed`. */
  responses: MappedResponse[];
  /** Of the upstream's headers only those go on that a response names, and those that say what its body is. What no response is for is answered with 500. */
  closed?: boolean;
  /** Also of answers that are made here, as a mock's are. */
  ofLocal?: boolean;
  path?: PathNames;
  stage?: TemplateStage;
  /** 1 MB unless said. */
  bytesMax?: number;
}

export interface MappedResponse {
  /** Of a status ("4\\d\\d", RE2, the whole of it); without it: all others. */
  pattern?: string;
  /** Instead of the upstream's. */
  status?: number;
  /** Velocity, by media type: the first that the client accepts, else the first. */
  templates?: { [mediaType: string]: string };
  headers?: MappedField[];
}

/** Request parameters as API Gateway maps them: what the upstream gets as headers, query and path is made of what came. */
export interface RequestParametersFilter {
  type: "requestParameters";
  /** Instead of the request's; not of HEAD, nor HEAD. */
  method?: "GET" | "PUT" | "POST" | "DELETE" | "OPTIONS" | "PATCH";
  headers?: MappedField[];
  query?: MappedField[];
  /** Instead of the request's path; what is put into it is encoded, but for slashes in `path: "NAME"` with `rest`. */
  target?: MappedPart[];
  /** The client's query goes on only as far as it is named here, and of its headers those that are named and those that say what the body is, and what is accepted. */
  closed?: boolean;
  path?: PathNames;
  stage?: TemplateStage;
  /** Of a body that is looked into; 1 MB unless said. */
  bytesMax?: number;
}

/** Answers in place of an upstream: a template of the request says with which status, and that chooses the response. */
export interface MockFilter {
  type: "mock";
  templates: { [mediaType: string]: string };
  passthrough: RequestTemplateFilter["passthrough"];
  responses: MappedResponse[];
  path?: PathNames;
  stage?: TemplateStage;
  bytesMax?: number;
}

/** What answers look like that are the gateway's own: refusals, and what went wrong on the way. The first rule that fits. */
export interface GatewayResponsesFilter {
  type: "gatewayResponses";
  rules: {
    /** API Gateway's name for it: what templates see as `$context.error.responseType`. */
    name: string;
    /** Of `policy/flags.ts`; absent: any but those that a rule itself answers with. */
    flags?: string[];
    statuses?: { from: number; to: number };
    /** The beginning of its reason. */
    reason?: string;
    status?: number;
    headers?: MappedField[];
    templates?: { [mediaType: string]: string };
  }[];
  path?: PathNames;
  stage?: TemplateStage;
}

/** One that comes to nothing sets nothing. */
export interface MappedField {
  name: string;
  /** `set` unless said. */
  do?: "set" | "add" | "remove";
  from: MappedPart[];
}

/** What a value is made of, one behind another. `body`: a JSONPath into it, "" for all of it; `context`: "identity.sourceIp", as templates have it. */
export type MappedPart = { text: string } | { header: string } | { query: string; /** All of them, where it is there several times. */ all?: boolean } | { path: string; /** Slashes in it stay. */ rest?: boolean } | { body: string } | { context: string } | { responseHeader: string };

export interface RequestRulesFilter {
  type: "requestRules";
  /** In order; the first that a request breaks refuses it. */
  rules: RequestRule[];
  /** Of refusals, unless a rule says its own; else by what is broken: 400, 403, 405, 413, 414, 415 or 431. */
  status?: number;
  /** Of bodies that are looked at; 128 KB unless said. Longer ones are refused (413) by rules that look into them. */
  bodyBytesMax?: number;
  /** "pass": longer ones, and those that do not say how long they are, are not looked into, which the access log tells. */
  oversize?: "pass";
  /** Under which name what they refuse is counted; absent: it is not. */
  share?: string;
}

export interface RequestParameter {
  in: "query" | "path" | "header" | "cookie";
  name: string;
  required?: boolean;
  schema: unknown;
  /** Of lists in the query: false is "a,b", else the name is repeated. */
  explode?: boolean;
}

/**
 * The names of a path's parameters in the order of the groups of `pattern` (RE2, found in the path), or of those of the match
 * that chose the rule.
 */
export interface PathNames {
  type: "regex";
  names: string[];
  pattern?: string;
}

/** What templates may ask for as `$stageVariables` and `$context`. */
export interface TemplateStage {
  name?: string;
  apiId?: string;
  /** "/pets/{id}". */
  resourcePath?: string;
  operationName?: string;
  variables?: { [name: string]: string };
}

/** What ModSecurity's users ask of it most: exactly one of the fields below `except`. */
export interface RequestRule {
  /** In the access log and the answer. */
  name: string;
  /** The access log says what it would have refused. */
  dryRun?: boolean;
  status?: number;
  /** Requests that it is not for: by the beginning of their path, whole elements; or by the client's address. */
  except?: { paths?: string[]; clients?: string[] };
  /** The only ones. */
  methods?: string[];
  /** The only ones of requests with a body: "application/json", "text/*". */
  contentTypes?: string[];
  max?: {
    /** All fields of the head, names and values. */
    headBytes?: number;
    headers?: number;
    pathBytes?: number;
    queryBytes?: number;
    /** Parameters of the query. */
    parameters?: number;
    bodyBytes?: number;
  };
  /** Nothing in it may match (RE2, found anywhere): as it came, and decoded as its receiver decodes it. */
  deny?: { in: ("path" | "query" | "body" | "headers" | { header: string })[]; pattern: string; ignoreCase?: boolean };
  /** Must be there, and match where there is a pattern (RE2, the whole value). */
  require?: { header: string; pattern?: string };
  clients?: { allow?: string[]; deny?: string[] };
}
