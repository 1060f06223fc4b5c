import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type Certificate, certManager, certManagerGroup, type CertificateSpec, durationMs } from "../../api/cert-manager/types.ts";
import { controllerOf, type GroupVersionResource, type KubeObject } from "../../api/meta.ts";
import { isUsage } from "../../api/x509/certificate.ts";
import type { Action, Draft, Existing, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { type Controller, controller } from "../runner.ts";

/** What a Certificate can be asked for by annotations: an Ingress, a Gateway, a ListenerSet. */
export interface Asking {
  apiVersion: string;
  kind: "Ingress" | "Gateway" | "ListenerSet";
  resource: GroupVersionResource;
}

interface Listener {
  name: string;
  hostname?: string;
  protocol: string;
  tls?: { mode?: string; certificateRefs?: { group?: string; kind?: string; name: string; namespace?: string }[] };
}

/**
 * Certificates for the tls blocks of Ingresses and the listeners of Gateways that carry `cert-manager.io/cluster-issuer` or
 * `cert-manager.io/issuer`: one for each Secret, named as it, owned by who asked. Source: cert-manager pkg/controller/certificate-shim.
 */
export const shimController = (asking: Asking): Controller =>
  controller<KubeObject>({
    name: `cert-manager-${asking.kind.toLowerCase()}-shim`,
    for: asking.resource,
    owns: { kind: asking.kind, resources: [certManager.certificates] },
    plan: ({ object, cache }) => planShim(asking, object, cache),
  });

const names = { issuer: "cert-manager.io/issuer", clusterIssuer: "cert-manager.io/cluster-issuer", issuerKind: "cert-manager.io/issuer-kind", issuerGroup: "cert-manager.io/issuer-group", acme: "kubernetes.io/tls-acme" } as const;

/** Whether the object asks for certificates at all. */
export function asksForCertificates({ kind, metadata: { annotations = {} } }: KubeObject): boolean {
  return names.issuer in annotations || names.clusterIssuer in annotations || (kind === "Ingress" && /^(1|t|true)$/i.test(annotations[names.acme] ?? ""));
}

export function planShim(asking: Asking, object: KubeObject, cache: Cache): Plan {
  const { metadata } = object;
  const owned = cache.ownedBy<Certificate>(certManager.certificates, metadata.uid);
  if (metadata.deletionTimestamp || metadata.finalizers?.includes("foregroundDeletion")) return { actions: [] };
  if (!asksForCertificates({ ...object, kind: asking.kind })) return { actions: [] };
  const actions: Action[] = [];
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: { ...object, apiVersion: asking.apiVersion, kind: asking.kind }, type, reason, message });
  const bad = (message: string): Action => event("Warning", "BadConfig", message);
  const issuerRef = issuerOf(metadata.annotations ?? {});
  if (typeof issuerRef === "string") return { actions: [bad(`Could not determine issuer for ingress due to bad annotations: ${issuerRef}`)] };
  const hosts = asking.kind === "Ingress" ? hostsOfIngress(object, (message) => actions.push(bad(message))) : hostsOfListeners(object, (message) => actions.push(bad(message)));
  if (typeof hosts === "string") return { actions: [bad(hosts)] };

  for (const [secretName, wanted] of hosts.of) {
    const spec = specOf(secretName, wanted, issuerRef, metadata.annotations ?? {});
    if (typeof spec === "string") {
      actions.push(bad(spec));
      continue;
    }
    const labels = Object.fromEntries(Object.entries(metadata.labels ?? {}).filter(([name]) => name !== "applyset.kubernetes.io/part-of"));
    const annotations = asking.kind === "Ingress" ? {} : { "acme.cert-manager.io/http01-parentrefkind": asking.kind, "acme.cert-manager.io/http01-parentrefname": metadata.name };
    const existing = cache.get<Certificate>(certManager.certificates, `${metadata.namespace}/${secretName}`);
    if (!existing) {
      const draft: Draft = {
        apiVersion: "cert-manager.io/v1",
        kind: "Certificate",
        metadata: {
          name: secretName,
          namespace: metadata.namespace!,
          ...(Object.keys(labels).length > 0 && { labels }),
          ...(Object.keys(annotations).length > 0 && { annotations }),
          ownerReferences: [{ apiVersion: asking.apiVersion, kind: asking.kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true }],
        },
        spec,
      };
      actions.push({ do: "create", resource: certManager.certificates, object: draft, after: () => [event("Normal", "CreateCertificate", `Successfully created Certificate ${JSON.stringify(secretName)}`)] });
    } else if (controllerOf(existing)?.uid === metadata.uid && (!isDeepStrictEqual(existing.spec, spec) || !isDeepStrictEqual(existing.metadata.labels ?? {}, labels))) {
      const changed = { ...existing, metadata: { ...existing.metadata, labels, annotations: { ...existing.metadata.annotations, ...annotations } }, spec };
      actions.push({ do: "update", resource: certManager.certificates, object: changed as Existing, after: () => [event("Normal", "UpdateCertificate", `Successfully updated Certificate ${JSON.stringify(secretName)}`)] });
    }
  }
  for (const certificate of owned.filter(({ spec }) => !hosts.used.has(spec.secretName))) {
    actions.push({ do: "delete", resource: certManager.certificates, object: certificate as Existing, after: () => [event("Normal", "DeleteCertificate", `Successfully deleted unrequired Certificate ${JSON.stringify(certificate.metadata.name)}`)] });
  }
  return { actions };
}

/** A text: what is wrong. */
function issuerOf(annotations: Record<string, string>): CertificateSpec["issuerRef"] | string {
  const { [names.issuer]: issuer, [names.clusterIssuer]: clusterIssuer, [names.issuerKind]: kind, [names.issuerGroup]: group } = annotations;
  const both = (one: string, other: string) => `both ${JSON.stringify(one)} and ${JSON.stringify(other)} may not be set`;
  const errors = [
    ...(clusterIssuer || issuer ? [] : ["failed to determine issuer name to be used for ingress resource"]),
    ...(issuer !== undefined && clusterIssuer !== undefined ? [both(names.issuer, names.clusterIssuer)] : []),
    ...(clusterIssuer !== undefined && group !== undefined ? [both(names.clusterIssuer, names.issuerGroup)] : []),
    ...(clusterIssuer !== undefined && kind !== undefined ? [both(names.clusterIssuer, names.issuerKind)] : []),
  ];
  if (errors.length > 0) return errors.join(", ");
  return { name: (clusterIssuer ?? issuer)!, kind: kind ?? (clusterIssuer === undefined ? "Issuer" : "ClusterIssuer"), group: group ?? certManagerGroup };
}

interface Hosts {
  /** Names by the Secret that is to hold their certificate. */
  of: Map<string, string[]>;
  /** Secrets that are named at all, also in a block that is wrong. */
  used: Set<string>;
}

function hostsOfIngress({ spec }: KubeObject, complain: (message: string) => void): Hosts | string {
  const blocks = ((spec as { tls?: { hosts?: string[]; secretName?: string }[] }).tls ?? []).map(({ hosts = [], secretName = "" }) => ({ hosts, secretName }));
  const twice = blocks.map((block, index) => [index, blocks.findIndex((other, at) => at > index && other.secretName === block.secretName)] as const).filter(([, other]) => other >= 0);
  if (twice.length > 0) return twice.map(([index, other]) => `spec.tls[${index}].secretName: Invalid value: ${JSON.stringify(blocks[index]!.secretName)}: this secret name must only appear in a single TLS entry but is also used in spec.tls[${other}].secretName`).join(", ");
  const of = new Map<string, string[]>();
  for (const [index, { hosts, secretName }] of blocks.entries()) {
    const missing = [...(hosts.length === 0 ? [`spec.tls[${index}].hosts: Required value`] : []), ...(secretName === "" ? [`spec.tls[${index}].secretName: Required value`] : [])];
    if (missing.length > 0) complain(`Skipped a TLS block: ${missing.length > 1 ? `[${missing.join(", ")}]` : missing[0]}`);
    else of.set(secretName, hosts);
  }
  return { of, used: new Set(blocks.map(({ secretName }) => secretName)) };
}

function hostsOfListeners({ spec, metadata }: KubeObject, complain: (message: string) => void): Hosts {
  const of = new Map<string, string[]>();
  const used = new Set<string>();
  const ignored = (metadata.annotations?.["cert-manager.io/ignore-tls-listeners"] ?? "").split(",").map((name) => name.trim());
  for (const [index, { name, hostname = "", protocol, tls }] of ((spec as { listeners?: Listener[] }).listeners ?? []).entries()) {
    for (const reference of tls?.certificateRefs ?? []) used.add(reference.name);
    if ((protocol !== "HTTPS" && protocol !== "TLS") || tls?.mode === "Passthrough" || ignored.includes(name)) continue;
    const at = `spec.listeners[${index}]`;
    const references = tls?.certificateRefs ?? [];
    const wrong = [
      ...(hostname === "" ? [`${at}.hostname: Required value: the hostname cannot be empty`] : []),
      ...(tls === undefined ? [`${at}.tls: Required value: the TLS block cannot be empty`] : references.length === 0 ? [`${at}.tls.certificateRef: Required value: listener has no certificateRefs`] : []),
      ...references.flatMap(({ group = "", kind = "Secret", namespace }, number) => {
        const place = `${at}.tls.certificateRef[${number}]`;
        return [
          ...(group !== "" && group !== "core" ? [`${place}.group: Unsupported value: ${JSON.stringify(group)}: supported values: "core", ""`] : []),
          ...(kind !== "Secret" ? [`${place}.kind: Unsupported value: ${JSON.stringify(kind)}: supported values: "Secret", ""`] : []),
          ...(namespace !== undefined && namespace !== metadata.namespace ? [`${place}.namespace: Invalid value: ${JSON.stringify(namespace)}: cross-namespace secret references are not allowed in listeners`] : []),
        ];
      }),
    ];
    if (wrong.length > 0) {
      complain(`Skipped a listener block: ${wrong.length > 1 ? `[${wrong.join(", ")}]` : wrong[0]}`);
      continue;
    }
    for (const reference of references) of.set(reference.name, [...(of.get(reference.name) ?? []), hostname]);
  }
  return { of, used };
}

const prefix = "cert-manager.io/";
const commaSeparated = (text: string): string[] => text.split(",").map((part) => part.trim()).filter((part) => part !== "");
/** Commas within quotes belong to the value. */
const csv = (text: string): string[] => [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => (quoted === undefined ? plain! : quoted.replaceAll('""', '"')));

/** A text: which annotation is wrong. */
function specOf(secretName: string, hosts: readonly string[], issuerRef: CertificateSpec["issuerRef"], annotations: Record<string, string>): CertificateSpec | string {
  const unique = [...new Set(hosts)];
  const dnsNames = unique.filter((host) => !isIP(host));
  const ipAddresses = unique.filter((host) => isIP(host));
  const spec: CertificateSpec = { ...(dnsNames.length > 0 && { dnsNames }), ...(ipAddresses.length > 0 && { ipAddresses }), secretName, issuerRef, usages: ["digital signature", "key encipherment"] };
  const wrong = (name: string, why: string) => `invalid ingress annotation ${JSON.stringify(prefix + name)}: ${why}`;
  const subject: NonNullable<CertificateSpec["subject"]> = {};
  for (const [name, set] of Object.entries(translations)) {
    const value = annotations[prefix + name];
    const problem = value === undefined ? undefined : set(spec, value, subject);
    if (problem) return wrong(name, problem);
  }
  if (Object.keys(subject).length > 0) spec.subject = subject;
  const { algorithm = "RSA", size } = spec.privateKey ?? {};
  if (size !== undefined && !(algorithm === "RSA" ? size >= 2048 && size <= 8192 : algorithm !== "ECDSA" || [256, 384, 521].includes(size))) return wrong("private-key-size", `invalid private key size for ${algorithm} algorithm "${size}"`);
  return spec;
}

/** What each annotation sets; a text: what is wrong with its value. */
const translations: Record<string, (spec: CertificateSpec, value: string, subject: NonNullable<CertificateSpec["subject"]>) => string | undefined> = {
  "common-name": (spec, value) => (Buffer.byteLength(value) > 64 ? "common name may not be more than 64 bytes" : void (spec.commonName = value)),
  "alt-names": (spec, value) => void (value && (spec.dnsNames = [...(spec.dnsNames ?? []), ...value.split(",")])),
  "ip-sans"(spec, value) {
    const added = commaSeparated(value);
    const odd = added.find((address) => !isIP(address));
    return odd === undefined ? void (added.length > 0 && (spec.ipAddresses = [...(spec.ipAddresses ?? []), ...added])) : `${JSON.stringify(odd)} is not a valid IP address`;
  },
  "email-sans"(spec, value) {
    const added = commaSeparated(value);
    const odd = added.find((email) => !/^[^\s@<>]+@[^\s@<>]+$/.test(email));
    return odd === undefined ? void (added.length > 0 && (spec.emailAddresses = added)) : `${JSON.stringify(odd)} is not a valid email address`;
  },
  duration: (spec, value) => timeOf(spec, "duration", value, 3_600_000, "duration must be greater than or equal to 1h0m0s"),
  "renew-before": (spec, value) => timeOf(spec, "renewBefore", value, 300_000, "renewBefore must be greater than or equal to 5m0s"),
  "renew-before-percentage": (spec, value) => (/^-?\d+$/.test(value) ? void (spec.renewBeforePercentage = Number(value)) : `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`),
  usages(spec, value) {
    const usages = value.split(",").map((usage) => usage.trim());
    const odd = usages.find((usage) => !isUsage(usage));
    return odd === undefined ? void (spec.usages = usages) : `invalid key usage name ${JSON.stringify(odd)}`;
  },
  "revision-history-limit"(spec, value) {
    if (!/^-?\d+$/.test(value)) return `strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`;
    return Number(value) < 1 ? `revision history limit must be a positive number ${JSON.stringify(value)}` : void (spec.revisionHistoryLimit = Number(value));
  },
  "private-key-algorithm": (spec, value) => ofKey(spec, "algorithm", value, ["RSA", "ECDSA", "Ed25519"], "algorithm"),
  "private-key-encoding": (spec, value) => ofKey(spec, "encoding", value, ["PKCS1", "PKCS8"], "encoding"),
  "private-key-size": (spec, value) => (/^\d+$/.test(value) ? void (spec.privateKey = { ...spec.privateKey, size: Number(value) }) : `strconv.Atoi: parsing ${JSON.stringify(value)}: invalid syntax`),
  "private-key-rotation-policy": (spec, value) => ofKey(spec, "rotationPolicy", value, ["Never", "Always"], "rotation policy"),
  "secret-template"(spec, value) {
    let template: CertificateSpec["secretTemplate"];
    try {
      template = JSON.parse(value) as NonNullable<CertificateSpec["secretTemplate"]>;
    } catch (error) {
      return `error parsing secret template JSON: ${(error as Error).message}`;
    }
    const unknown = Object.keys(template ?? {}).find((field) => field !== "labels" && field !== "annotations");
    if (unknown) return `error parsing secret template JSON: json: unknown field ${JSON.stringify(unknown)}`;
    const odd = Object.keys(template?.annotations ?? {}).find((name) => name.startsWith(prefix));
    if (odd) return `secretTemplate must not have cert-manager.io/ annotations: ${JSON.stringify(odd)}`;
    return void (template && (spec.secretTemplate = template));
  },
  "subject-organizations": (_, value, subject) => void (subject.organizations = csv(value)),
  "subject-organizationalunits": (_, value, subject) => void (subject.organizationalUnits = csv(value)),
  "subject-countries": (_, value, subject) => void (subject.countries = csv(value)),
  "subject-provinces": (_, value, subject) => void (subject.provinces = csv(value)),
  "subject-localities": (_, value, subject) => void (subject.localities = csv(value)),
  "subject-postalcodes": (_, value, subject) => void (subject.postalCodes = csv(value)),
  "subject-streetaddresses": (_, value, subject) => void (subject.streetAddresses = csv(value)),
  "subject-serialnumber": (_, value, subject) => void (subject.serialNumber = value),
};

function timeOf(spec: CertificateSpec, field: "duration" | "renewBefore", value: string, leastMs: number, tooShort: string): string | undefined {
  const ms = durationMs(value);
  if (ms === undefined) return `time: invalid duration ${JSON.stringify(value)}`;
  return ms < leastMs ? tooShort : void (spec[field] = value);
}

function ofKey(spec: CertificateSpec, field: "algorithm" | "encoding" | "rotationPolicy", value: string, known: readonly string[], what: string): string | undefined {
  return known.includes(value) ? void (spec.privateKey = { ...spec.privateKey, [field]: value }) : `invalid private key ${what} ${JSON.stringify(value)}`;
}
