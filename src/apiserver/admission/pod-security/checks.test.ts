import assert from "node:assert/strict";
import { test } from "node:test";
import { type Level, type PodSpec, violations } from "./checks.ts";

const latest = Infinity;
const good = { allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" } };
const pod = (context: object | undefined, spec: object = {}): PodSpec => ({ containers: [{ name: "a", ...(context && { securityContext: context }) }], ...spec });
const restricted = (context: object, spec: object = {}) => pod({ ...good, ...context }, spec);

const cases: [level: Level, version: number, spec: PodSpec, annotations: Record<string, string>, expected: string][] = [
  ["privileged", latest, pod({ privileged: true }, { hostNetwork: true }), {}, ""],
  ["baseline", latest, pod(undefined), {}, ""],
  ["restricted", latest, restricted({}), {}, ""],
  [
    "restricted",
    latest,
    pod(undefined),
    {},
    'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
  ],
  ["baseline", latest, pod({ privileged: true }), {}, 'privileged (container "a" must not set securityContext.privileged=true)'],
  ["baseline", latest, pod(undefined, { hostNetwork: true, hostPID: true }), {}, "host namespaces (hostNetwork=true, hostPID=true)"],
  ["baseline", latest, pod(undefined, { volumes: [{ name: "v", hostPath: {} }, { name: "w", hostPath: {} }] }), {}, 'hostPath volumes (volumes "v", "w")'],
  ["restricted", latest, restricted({}, { volumes: [{ name: "v", hostPath: {} }, { name: "n", nfs: {} }, { name: "c", configMap: {} }] }), {}, 'restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")'],
  ["baseline", latest, { initContainers: [{ name: "i", ports: [{ hostPort: 80 }] }], containers: [{ name: "a", ports: [{ hostPort: 443 }, {}] }] }, {}, 'hostPort (containers "i", "a" use hostPorts 443, 80)'],
  ["baseline", latest, pod({ capabilities: { add: ["NET_ADMIN", "CHOWN"] } }), {}, 'non-default capabilities (container "a" must not include "NET_ADMIN" in securityContext.capabilities.add)'],
  ["restricted", latest, restricted({ capabilities: { add: ["CHOWN"], drop: ["KILL"] } }), {}, 'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; container "a" must not include "CHOWN" in securityContext.capabilities.add)'],
  ["restricted", latest, restricted({ capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] } }), {}, ""],
  ["restricted", 21, restricted({ capabilities: { add: ["SYS_TIME"] } }), {}, 'non-default capabilities (container "a" must not include "SYS_TIME" in securityContext.capabilities.add)'],
  ["baseline", latest, pod({ procMount: "Unmasked" }), {}, 'procMount (container "a" must not set securityContext.procMount to "Unmasked")'],
  ["baseline", latest, pod({ procMount: "Unmasked" }, { hostUsers: false }), {}, ""],
  ["baseline", 34, pod({ procMount: "Unmasked" }, { hostUsers: false }), {}, 'procMount (container "a" must not set securityContext.procMount to "Unmasked")'],
  ["restricted", latest, restricted({ procMount: "Unmasked" }, { hostUsers: false }), {}, 'procMount (container "a" must not set securityContext.procMount to "Unmasked")'],
  ["baseline", latest, pod({ seLinuxOptions: { type: "spc_t", user: "u" } }, { securityContext: { seLinuxOptions: { role: "r" } } }), {}, 'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set; role may not be set)'],
  ["baseline", 30, pod({ seLinuxOptions: { type: "container_engine_t" } }), {}, 'seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: type "container_engine_t")'],
  ["baseline", 31, pod({ seLinuxOptions: { type: "container_engine_t" } }), {}, ""],
  ["baseline", latest, pod({ seccompProfile: { type: "Unconfined" } }), {}, 'seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")'],
  ["restricted", latest, pod({ ...good, seccompProfile: undefined }, { securityContext: { seccompProfile: { type: "Localhost" } } }), {}, ""],
  ["baseline", 18, pod(undefined), { "seccomp.security.alpha.kubernetes.io/pod": "unconfined" }, 'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'],
  ["baseline", latest, pod({ appArmorProfile: { type: "Unconfined" } }), {}, 'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")'],
  ["baseline", latest, pod(undefined, { securityContext: { sysctls: [{ name: "kernel.msgmax" }, { name: "net.ipv4.tcp_rmem" }] } }), {}, "forbidden sysctls (kernel.msgmax)"],
  ["baseline", 31, pod(undefined, { securityContext: { sysctls: [{ name: "net.ipv4.tcp_rmem" }] } }), {}, "forbidden sysctls (net.ipv4.tcp_rmem)"],
  ["baseline", latest, pod(undefined, { securityContext: { windowsOptions: { hostProcess: true } } }), {}, "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"],
  ["baseline", 33, { containers: [{ name: "a", livenessProbe: { httpGet: { host: "10.0.0.1" } } }] }, {}, ""],
  ["baseline", 34, { containers: [{ name: "a", livenessProbe: { httpGet: { host: "10.0.0.1" } } }] }, {}, 'probe or lifecycle host (container "a" uses probe or lifecycle host "10.0.0.1")'],
  ["restricted", latest, restricted({ runAsNonRoot: false }), {}, 'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)'],
  ["restricted", latest, restricted({ runAsUser: 0 }), {}, 'runAsUser=0 (container "a" must not set runAsUser=0)'],
  ["restricted", 22, restricted({ runAsUser: 0 }), {}, ""],
  ["restricted", latest, restricted({ runAsUser: 0 }, { hostUsers: false }), {}, ""],
  ["restricted", latest, pod({ runAsNonRoot: true }, { os: { name: "windows" } }), {}, ""],
  ["restricted", latest, { ephemeralContainers: [{ name: "debug", securityContext: { ...good, privileged: true } }], containers: [] }, {}, 'privileged (container "debug" must not set securityContext.privileged=true)'],
];
for (const [level, version, spec, annotations, expected] of cases) {
  test(`${level}:${version === latest ? "latest" : `v1.${version}`} of ${JSON.stringify(spec)}`, () => {
    assert.equal(
      violations(level, version, { spec, annotations })
        .map(({ reason, detail }) => `${reason} (${detail})`)
        .join(", "),
      expected,
    );
  });
}
