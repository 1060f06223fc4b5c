import type { AuthorisationPolicy, AuthorisationRule, TextsWanted } from "../../api/authorisation.ts";
import type { AuthorizationPolicy, AuthorizationSource } from "../../api/istio/security.ts";

/** Who may call, in the policy's form. Rules that ask for nothing fit everybody. */
export function translateAuthorization({ metadata, spec = {} }: AuthorizationPolicy): AuthorisationPolicy {
  const namespace = metadata.namespace!;
  const rules = (spec.rules ?? []).map(({ from, to, when }): AuthorisationRule => ({
    ...(from?.length && { from: from.map(({ source = {} }) => sourceOf(source, namespace)) }),
    ...(to?.length && {
      to: to.map(({ operation: { hosts, notHosts, ports, notPorts, methods, notMethods, paths, notPaths } = {} }) => given({ hosts: both(hosts, notHosts), ports: both(ports, notPorts), methods: both(methods, notMethods), paths: both(paths, notPaths) })),
    }),
    ...(when?.length && { when: when.map(({ key, values, notValues }) => ({ key, ...both(values, notValues) })) }),
  }));
  return { name: `${namespace}/${metadata.name}`, action: spec.action ?? "ALLOW", ...(metadata.annotations?.["istio.io/dry-run"] === "true" && { isDryRun: true }), rules };
}

function sourceOf(source: AuthorizationSource, namespace: string): NonNullable<AuthorisationRule["from"]>[number] {
  const account = (names: string[] | undefined) => names?.map((name) => (name.includes("/") ? name : `${namespace}/${name}`));
  return given({
    principals: both(source.principals, source.notPrincipals),
    requestPrincipals: both(source.requestPrincipals, source.notRequestPrincipals),
    namespaces: both(source.namespaces, source.notNamespaces),
    serviceAccounts: both(account(source.serviceAccounts), account(source.notServiceAccounts)),
    trustDomains: both(source.trustDomains, source.notTrustDomains),
    ipBlocks: both(source.ipBlocks, source.notIpBlocks),
    remoteIpBlocks: both(source.remoteIpBlocks, source.notRemoteIpBlocks),
  });
}

const both = (any: string[] | undefined, none: string[] | undefined): TextsWanted | undefined => (any?.length || none?.length ? { ...(any?.length && { any }), ...(none?.length && { none }) } : undefined);

type Given<T> = { [Field in keyof T]?: NonNullable<T[Field]> };
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}
