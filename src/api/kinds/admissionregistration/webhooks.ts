import { duplicate, type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each, oneOfOptional } from "../../validation/checks.ts";
import { dns1035Label, dns1123Subdomain } from "../../validation/names.ts";
import { type GoUrl, parseGoUrl } from "../../validation/url.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, integer, name } from "../columns.ts";
import { validateConditions } from "./policies.ts";
import { lazyModule } from "../../../base/lazy.ts";

const compositions = lazyModule<typeof import("../../cel/composition.ts")>(import.meta.url, "../../cel/composition.ts");

/** Webhooks that look at writes. Source: k8s.io/kubernetes/pkg/apis/admissionregistration/{v1/defaults.go,validation}. */
type Draft = any;

function defaultWebhook(webhook: Draft, mutating: boolean): void {
  webhook.failurePolicy ??= "Fail";
  webhook.matchPolicy ??= "Equivalent";
  webhook.namespaceSelector ??= {};
  webhook.objectSelector ??= {};
  webhook.timeoutSeconds ??= 10;
  if (mutating) webhook.reinvocationPolicy ??= "Never";
  for (const rule of webhook.rules ?? []) rule.scope ??= "*";
  if (webhook.clientConfig?.service) webhook.clientConfig.service.port ??= 443;
}

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const scopes = ["*", "Cluster", "Namespaced"];

export function validateRules(path: string, rules: Draft[] | undefined): FieldError[] {
  return each(path, rules, (rule, at) => {
    const lonely = (field: string, what: string): FieldError[] => {
      const values: string[] = rule[field] ?? [];
      if (values.length === 0) return [required(`${at}.${field}`)];
      return values.length > 1 && values.includes("*") ? [invalid(`${at}.${field}`, values, `if '*' is present, must not specify other ${what}`)] : [];
    };
    return [
      ...lonely("operations", "operations"),
      ...each(`${at}.operations`, rule.operations, (operation: string, operationAt) => (operations.includes(operation) ? [] : [notSupported(operationAt, operation, operations)])),
      ...lonely("apiGroups", "API groups"),
      ...lonely("apiVersions", "API versions"),
      ...each(`${at}.apiVersions`, rule.apiVersions, (version: string, versionAt) => (version === "" ? [required(versionAt)] : [])),
      ...validateResources(`${at}.resources`, rule.resources ?? []),
      ...oneOfOptional(`${at}.scope`, rule.scope, scopes),
    ];
  });
}

/** "pods", "pods/*", "*\/scale", "*": none may be said twice. */
function validateResources(path: string, resources: readonly string[]): FieldError[] {
  if (resources.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  const [ofAny, inAll] = [new Set<string>(), new Set<string>()];
  let plain = false;
  for (const [index, entry] of resources.entries()) {
    const at = `${path}[${index}]`;
    const slash = entry.indexOf("/");
    if (entry === "") errors.push(required(at));
    else if (slash < 0) plain = entry !== "*";
    else {
      const [resource, sub] = [entry.slice(0, slash), entry.slice(slash + 1)];
      if (ofAny.has(resource)) errors.push(invalid(at, entry, `if '${resource}/*' is present, must not specify ${entry}`));
      if (inAll.has(sub)) errors.push(invalid(at, entry, `if '*/${sub}' is present, must not specify ${entry}`));
      if (sub === "*") ofAny.add(resource);
      if (resource === "*") inAll.add(sub);
    }
  }
  if (resources.length > 1 && resources.includes("*/*")) errors.push(invalid(path, resources, "if '*/*' is present, must not specify other resources"));
  if (resources.includes("*") && plain) errors.push(invalid(path, resources, "if '*' is present, must not specify other resources without subresources"));
  return errors;
}

const urlForm = "; desired format: https://host[/path]";

/** Source: k8s.io/apiserver/pkg/util/webhook/validation.go. */
function validateUrl(path: string, text: string): FieldError[] {
  let url: GoUrl;
  try {
    url = parseGoUrl(text);
  } catch (error) {
    return [required(path, `url must be a valid URL: ${(error as Error).message}${urlForm}`)];
  }
  const errors: FieldError[] = [];
  if (url.scheme !== "https") errors.push(invalid(path, url.scheme, `'https' is the only allowed URL scheme${urlForm}`));
  if (url.host === "") errors.push(invalid(path, "", `host must be specified${urlForm}`));
  if (url.user !== undefined) errors.push(invalid(path, url.user, "user information is not permitted in the URL"));
  if (url.fragment) errors.push(invalid(path, url.fragment, "fragments are not permitted in the URL"));
  if (url.query) errors.push(invalid(path, url.query, "query parameters are not permitted in the URL"));
  return errors;
}

function validateService(path: string, service: Draft): FieldError[] {
  const errors = ["name", "namespace"].filter((field) => !service[field]).map((field) => required(`${path}.${field}`));
  const { port = 0, path: urlPath } = service;
  if (port < 1 || port > 65535) errors.push(invalid(`${path}.port`, port, "port is not valid: must be between 1 and 65535, inclusive"));
  if (!urlPath || urlPath === "/") return errors;
  const wrong = (text: string): void => void errors.push(invalid(`${path}.path`, urlPath, text));
  if (urlPath === "//") wrong("segment[0] may not be empty");
  else {
    if (!urlPath.startsWith("/")) wrong("must start with a '/'");
    // Its first byte is taken for the slash.
    for (const [index, step] of Buffer.from(urlPath).subarray(1).toString().replace(/\/$/, "").split("/").entries()) {
      if (step === "") wrong(`segment[${index}] may not be empty`);
      else for (const text of dns1123Subdomain(step)) wrong(`segment[${index}]: ${text}`);
    }
  }
  return errors;
}

/** Where a webhook is called: a URL, or a Service. */
export function validateClientConfig(path: string, config: Draft): FieldError[] {
  const { url, service } = config ?? {};
  if ((url === undefined) === (service === undefined)) return [required(path, "exactly one of url or service is required")];
  return url === undefined ? validateService(`${path}.service`, service) : validateUrl(`${path}.url`, url);
}

function validateName(path: string, value: string | undefined): FieldError[] {
  if (!value) return [required(path)];
  const texts = dns1123Subdomain(value);
  if (texts.length > 0) return [invalid(path, value, texts.join(","))];
  return value.split(".").length < 3 ? [invalid(path, value, "should be a domain with at least three segments separated by dots")] : [];
}

const reviewVersions = ["v1", "v1beta1"];
function validateReviewVersions(path: string, versions: readonly string[]): FieldError[] {
  if (versions.length === 0) return [required(path, `must specify one of ${reviewVersions.join(", ")}`)];
  const errors = each(path, versions, (version: string, at, index) => (versions.indexOf(version) < index ? [invalid(at, version, "duplicate version")] : checked(at, version, dns1035Label)));
  if (!versions.some((version) => reviewVersions.includes(version))) errors.push(invalid(path, versions, `must include at least one of ${reviewVersions.join(", ")}`));
  return errors;
}

const sideEffects = ["None", "NoneOnDryRun"];
const validateWebhook = (path: string, webhook: Draft): FieldError[] => [
  ...validateName(`${path}.name`, webhook.name),
  ...validateRules(`${path}.rules`, webhook.rules),
  ...oneOfOptional(`${path}.failurePolicy`, webhook.failurePolicy, ["Fail", "Ignore"]),
  ...oneOfOptional(`${path}.matchPolicy`, webhook.matchPolicy, ["Equivalent", "Exact"]),
  ...(webhook.sideEffects === undefined || webhook.sideEffects === null ? [required(`${path}.sideEffects`, `must specify one of ${sideEffects.join(", ")}`)] : oneOfOptional(`${path}.sideEffects`, webhook.sideEffects, sideEffects)),
  ...(webhook.timeoutSeconds < 1 || webhook.timeoutSeconds > 30 ? [invalid(`${path}.timeoutSeconds`, webhook.timeoutSeconds, "the timeout value must be between 1 and 30 seconds")] : []),
  ...["namespaceSelector", "objectSelector"].flatMap((field) => validateLabelSelector(webhook[field], `${path}.${field}`)),
  ...oneOfOptional(`${path}.reinvocationPolicy`, webhook.reinvocationPolicy, ["IfNeeded", "Never"]),
  ...validateClientConfig(`${path}.clientConfig`, webhook.clientConfig),
  ...validateConditions(`${path}.matchConditions`, webhook.matchConditions, compositions().compose(undefined, false)),
  ...validateReviewVersions(`${path}.admissionReviewVersions`, webhook.admissionReviewVersions ?? []),
];

const webhookStrategy = (mutating: boolean): Strategy => {
  const validate = (object: KubeObject): FieldError[] => {
    const names = new Set<string>();
    return each("webhooks", object.webhooks, (webhook, at) => {
      const errors = validateWebhook(at, webhook);
      if (webhook.name && names.has(webhook.name)) errors.push(duplicate(`${at}.name`, webhook.name));
      names.add(webhook.name);
      return errors;
    });
  };
  return {
    conditionalUpdate: true,
    defaults(object) {
      for (const webhook of object.webhooks ?? []) defaultWebhook(webhook, mutating);
    },
    validate,
    columns: [name, integer("Webhooks", ({ webhooks }) => (webhooks ?? []).length), ageOf],
  };
};
export const mutatingWebhookConfiguration = webhookStrategy(true);
export const validatingWebhookConfiguration = webhookStrategy(false);
