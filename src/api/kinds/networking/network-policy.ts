import { type FieldError, forbidden, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { isCIDR, validateCIDR } from "../../validation/address.ts";
import { each } from "../../validation/checks.ts";
import { portNumber } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, name, selectorText, text } from "../columns.ts";
import { validatePortNumberOrName } from "../core/pod/containers.ts";

function validatePeer(path: string, peer: any): FieldError[] {
  const given = ["podSelector", "namespaceSelector", "ipBlock"].filter((field) => peer[field]);
  const errors = ["podSelector", "namespaceSelector"].flatMap((field) => validateLabelSelector(peer[field], `${path}.${field}`));
  if (given.length === 0) errors.push(required(path, "must specify a peer"));
  if (!peer.ipBlock) return errors;
  const both = given.length > 1 ? [forbidden(path, "may not specify both ipBlock and another peer")] : [];
  if (!peer.ipBlock.cidr) return [...errors, required(`${path}.ipBlock.cidr`), ...both];
  errors.push(...validateCIDR(`${path}.ipBlock.cidr`, peer.ipBlock.cidr));
  return [...errors, ...each(`${path}.ipBlock.except`, peer.ipBlock.except, (range: string, at) => (isCIDR(range) ? [] : validateCIDR(at, range))), ...both];
}

function validatePort(path: string, port: any): FieldError[] {
  const errors: FieldError[] = ["TCP", "UDP", "SCTP"].includes(port.protocol) ? [] : [notSupported(`${path}.protocol`, port.protocol, ["TCP", "UDP", "SCTP"])];
  if (port.port !== undefined) errors.push(...validatePortNumberOrName(`${path}.port`, port.port));
  if (port.endPort === undefined) return errors;
  if (port.port === undefined) return [...errors, invalid(`${path}.endPort`, port.endPort, "may not be specified when `port` is not specified")];
  if (typeof port.port === "string") return [...errors, invalid(`${path}.endPort`, port.endPort, "may not be specified when `port` is non-numeric")];
  if (port.endPort < port.port) errors.push(invalid(`${path}.endPort`, port.port, "must be greater than or equal to `port`"));
  return [...errors, ...portNumber(port.endPort).map((text) => invalid(`${path}.endPort`, port.endPort, text))];
}

function validate({ spec }: KubeObject): FieldError[] {
  const errors = validateLabelSelector(spec.podSelector, "spec.podSelector");
  for (const [list, peers] of [["ingress", "from"], ["egress", "to"]] as const) {
    errors.push(
      ...each(`spec.${list}`, spec[list], (rule, at) => [
        ...each(`${at}.ports`, rule.ports, (port, portAt) => validatePort(portAt, port)),
        ...each(`${at}.${peers}`, rule[peers], (peer, peerAt) => validatePeer(peerAt, peer)),
      ]),
    );
  }
  if ((spec.policyTypes ?? []).length > 2) errors.push(invalid("spec.policyTypes", spec.policyTypes, "may not specify more than two policyTypes"));
  return [...errors, ...each("spec.policyTypes", spec.policyTypes, (type: string, at) => (["Ingress", "Egress"].includes(type) ? [] : [notSupported(at, type, ["Ingress", "Egress"])]))];
}

/** Source: k8s.io/kubernetes/pkg/apis/networking/{v1/defaults.go,validation/validation.go}. */
export const networkPolicy: Strategy = {
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.podSelector ??= {};
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) for (const port of rule.ports ?? []) port.protocol ??= "TCP";
    if ((spec.policyTypes ?? []).length === 0) spec.policyTypes = (spec.egress ?? []).length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
  },
  validate,
  columns: [name, text("Pod-Selector", ({ spec }) => selectorText(spec?.podSelector)), ageOf],
};

export const serviceCIDR: Strategy = { columns: [name, text("CIDRs", ({ spec }) => (spec?.cidrs ?? []).join(",")), ageOf] };
export const ipAddress: Strategy = {
  columns: [
    name,
    text("ParentRef", ({ spec }) => {
      const { group = "", resource = "", namespace = "", name = "" } = spec?.parentRef ?? {};
      return `${resource}${group === "" ? "" : `.${group}`}/${namespace === "" ? "" : `${namespace}/`}${name}`;
    }, "<none>"),
  ],
};
