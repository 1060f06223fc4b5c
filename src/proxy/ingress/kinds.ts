import type { KubeObject } from "../../api/meta.ts";

export interface ServiceBackend {
  name: string;
  port?: { name?: string; number?: number };
}

export interface IngressBackend {
  service?: ServiceBackend;
  resource?: { apiGroup?: string; kind: string; name: string };
}

export type PathType = "Exact" | "Prefix" | "ImplementationSpecific";

/** networking.k8s.io/v1, as the API server has accepted it. */
export interface Ingress extends KubeObject {
  spec: {
    ingressClassName?: string;
    defaultBackend?: IngressBackend;
    tls?: { hosts?: string[]; secretName?: string }[];
    rules?: { host?: string; http?: { paths: { path?: string; pathType: PathType; backend: IngressBackend }[] } }[];
  };
  status?: { loadBalancer?: { ingress?: IngressAddress[] } };
}

export interface IngressAddress {
  ip?: string;
  hostname?: string;
  ports?: { port: number; protocol: string; error?: string }[];
}

export interface IngressClass extends KubeObject {
  spec: { controller?: string };
}

export const controllerName = "wherry.dev/ingress-controller";
/** Ingresses that were written for ingress-nginx are served as they are. */
const controllers = new Set([controllerName, "k8s.io/ingress-nginx"]);
const usualClass = "nginx";

/** By class: none at all, `nginx`, or one whose controller is ingress-nginx or Wherry. */
export function isOurs({ metadata, spec }: Ingress, classNamed: (name: string) => IngressClass | undefined): boolean {
  const name = spec.ingressClassName ?? metadata.annotations?.["kubernetes.io/ingress.class"];
  if (name === undefined || name === "") return true;
  const found = classNamed(name);
  return found ? controllers.has(found.spec?.controller ?? "") : name === usualClass;
}
