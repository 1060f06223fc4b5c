import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each } from "../../validation/checks.ts";
import { dns1123Subdomain } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, integer, name } from "../columns.ts";

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

export function validateRules(path: string, rules: Draft[] | undefined): FieldError[] {
  return each(path, rules, (rule, at) => {
    const errors: FieldError[] = [];
    for (const field of ["apiGroups", "apiVersions", "resources", "operations"]) {
      const values: string[] = rule[field] ?? [];
      if (values.length === 0) errors.push(required(`${at}.${field}`));
      else if (values.length > 1 && values.includes("*") && field !== "resources") errors.push(invalid(`${at}.${field}`, values, `if '*' is present, must not specify other ${field === "apiGroups" ? "API groups" : field === "apiVersions" ? "API versions" : "operations"}`));
    }
    const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    errors.push(...each(`${at}.operations`, rule.operations, (operation: string, operationAt) => (operations.includes(operation) ? [] : [notSupported(operationAt, operation, operations)])));
    if (rule.scope !== undefined && !["*", "Cluster", "Namespaced"].includes(rule.scope)) errors.push(notSupported(`${at}.scope`, rule.scope, ["*", "Cluster", "Namespaced"]));
    return errors;
  });
}

/** Where a webhook is called: a URL, or a Service. */
export function validateClientConfig(path: string, config: Draft): FieldError[] {
  if (!config?.url === !config?.service) return [required(path, "exactly one of url or service is required")];
  if (config.url) {
    const form = "; desired format: https://host[/path]";
    let url: URL;
    try {
      url = new URL(config.url);
    } catch {
      return [required(`${path}.url`, `url must be a valid URL: parse ${JSON.stringify(config.url)}: invalid URI for request${form}`)];
    }
    const errors: FieldError[] = [];
    if (url.protocol !== "https:") errors.push(invalid(`${path}.url`, url.protocol.slice(0, -1), `'https' is the only allowed URL scheme${form}`));
    if (url.username || url.password) errors.push(invalid(`${path}.url`, url.username, `user information is not permitted in the URL`));
    if (url.hash) errors.push(invalid(`${path}.url`, url.hash.slice(1), "fragments are not permitted in the URL"));
    if (url.search) errors.push(invalid(`${path}.url`, url.search.slice(1), "query parameters are not permitted in the URL"));
    return errors;
  }
  const { service } = config;
  const errors = ["name", "namespace"].filter((field) => !service[field]).map((field) => required(`${path}.service.${field}`, `service ${field} is required`));
  if (service.path && !service.path.startsWith("/")) errors.push(invalid(`${path}.service.path`, service.path, "must start with a '/'"));
  if (service.port < 1 || service.port > 65535) errors.push(invalid(`${path}.service.port`, service.port, "port is not valid: must be between 1 and 65535, inclusive"));
  return errors;
}

const validateWebhook = (path: string, webhook: Draft): FieldError[] => {
  const errors: FieldError[] = checked(`${path}.name`, webhook.name ?? "", dns1123Subdomain);
  if (errors.length === 0 && webhook.name.split(".").length < 3) errors.push(invalid(`${path}.name`, webhook.name, "should be a domain with at least three segments separated by dots"));
  if (!(webhook.admissionReviewVersions ?? []).some((version: string) => version === "v1" || version === "v1beta1")) errors.push(required(`${path}.admissionReviewVersions`, "must specify one of v1, v1beta1"));
  for (const [field, supported] of [["failurePolicy", ["Fail", "Ignore"]], ["matchPolicy", ["Equivalent", "Exact"]], ["sideEffects", ["None", "NoneOnDryRun"]]] as const) {
    if (webhook[field] === undefined) errors.push(required(`${path}.${field}`, `must specify one of ${supported.join(", ")}`));
    else if (!(supported as readonly string[]).includes(webhook[field])) errors.push(notSupported(`${path}.${field}`, webhook[field], supported));
  }
  if (webhook.timeoutSeconds < 1 || webhook.timeoutSeconds > 30) errors.push(invalid(`${path}.timeoutSeconds`, webhook.timeoutSeconds, "the timeout value must be between 1 and 30 seconds"));
  for (const field of ["namespaceSelector", "objectSelector"]) errors.push(...validateLabelSelector(webhook[field], `${path}.${field}`));
  return [...errors, ...validateRules(`${path}.rules`, webhook.rules), ...validateClientConfig(`${path}.clientConfig`, webhook.clientConfig)];
};

const webhookStrategy = (mutating: boolean): Strategy => {
  const validate = (object: KubeObject): FieldError[] => {
    const names = new Set<string>();
    return each("webhooks", object.webhooks, (webhook, at) => {
      const errors = validateWebhook(at, webhook);
      if (names.has(webhook.name)) errors.push({ type: "FieldValueDuplicate", field: `${at}.name`, body: `Duplicate value: ${JSON.stringify(webhook.name)}` });
      names.add(webhook.name);
      return errors;
    });
  };
  return {
    defaults(object) {
      for (const webhook of object.webhooks ?? []) defaultWebhook(webhook, mutating);
    },
    validate,
    columns: [name, integer("Webhooks", ({ webhooks }) => (webhooks ?? []).length), ageOf],
  };
};
export const mutatingWebhookConfiguration = webhookStrategy(true);
export const validatingWebhookConfiguration = webhookStrategy(false);
