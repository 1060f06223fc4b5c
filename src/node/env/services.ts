import type { Service } from "../../api/types.ts";

/**
 * The variables by which programs found Services before they had DNS: `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`
 * and Docker's link variables. Source: k8s.io/kubernetes/pkg/kubelet/envvars/envvars.go.
 */
export function serviceVariables(services: readonly Service[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const service of services) {
    const ip = service.spec?.clusterIP;
    const ports = service.spec?.ports ?? [];
    if (!ip || ip === "None" || ports.length === 0) continue;
    const name = variableName(service.metadata.name);
    variables[`${name}_SERVICE_HOST`] = ip;
    variables[`${name}_SERVICE_PORT`] = String(ports[0]!.port);
    for (const port of ports) if (port.name) variables[`${name}_SERVICE_PORT_${variableName(port.name)}`] = String(port.port);
    for (const [index, port] of ports.entries()) {
      const protocol = port.protocol ?? "TCP";
      const url = `${protocol.toLowerCase()}://${ip.includes(":") ? `[${ip}]` : ip}:${port.port}`;
      if (index === 0) variables[`${name}_PORT`] = url;
      const prefix = `${name}_PORT_${port.port}_${protocol}`;
      variables[prefix] = url;
      variables[`${prefix}_PROTO`] = protocol.toLowerCase();
      variables[`${prefix}_PORT`] = String(port.port);
      variables[`${prefix}_ADDR`] = ip;
    }
  }
  return variables;
}

const variableName = (name: string) => name.toUpperCase().replaceAll("-", "_");

/** The Services a pod hears of: those of its namespace if it wants links, and `kubernetes` always. */
export function linkedServices(own: readonly Service[], defaults: readonly Service[], enableServiceLinks: boolean): Service[] {
  const master = defaults.filter(({ metadata }) => metadata.name === "kubernetes");
  return enableServiceLinks ? [...master, ...own.filter((service) => !master.includes(service))] : master;
}
