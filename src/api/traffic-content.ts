/** Filters that look into requests and answers: whether they are as an API describes them, and what becomes of them. */
export type ContentFilter = ValidateFilter | RequestTemplateFilter | ResponseTemplateFilter | RequestRulesFilter;

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
  path?: PathNames;
  stage?: TemplateStage;
  /** 1 MB unless said. */
  bytesMax?: number;
}

export interface ResponseTemplateFilter {
  type: "responseTemplate";
  /** The first whose pattern is the status of the answer ("4\\d\\d", RE2); without a pattern: all others. What none is for goes on as it is. */
  responses: {
    pattern?: string;
    /** Instead of the upstream's. */
    status?: number;
    /** Velocity, by media type: the first that the client accepts, else the first. */
    templates?: { [mediaType: string]: string };
  }[];
  /** Also of answers that are made here, as a mock's are. */
  ofLocal?: boolean;
  path?: PathNames;
  stage?: TemplateStage;
  /** 1 MB unless said. */
  bytesMax?: number;
}

export interface RequestRulesFilter {
  type: "requestRules";
  /** In order; the first that a request breaks refuses it. */
  rules: RequestRule[];
  /** Of refusals, unless a rule says its own; else by what is broken: 400, 403, 405, 413, 414, 415 or 431. */
  status?: number;
  /** Of bodies that are looked at; 128 KB unless said. Longer ones are refused (413) by rules that look into them. */
  bodyBytesMax?: number;
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
