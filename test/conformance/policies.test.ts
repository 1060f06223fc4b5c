import assert from "node:assert/strict";
import { test } from "node:test";
import { hasKubectl, startApi } from "../harness-api.ts";

/** Admission policies as their author and those they judge see them in a terminal. */
const minor = "1.33";

const validating = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replica-limit}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  matchConditions:
  - {name: not-the-system, expression: "!request.userInfo.username.startsWith('system:node:')"}
  variables:
  - {name: most, expression: "int(params.data.most)"}
  validations:
  - expression: object.spec.replicas <= variables.most
    messageExpression: "'replicas must be at most %d, not %d'.format([variables.most, object.spec.replicas])"
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: replica-limit}
spec:
  policyName: replica-limit
  validationActions: [Deny]
  paramRef: {name: limits, namespace: default, parameterNotFoundAction: Deny}
`;

const mutating = `
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicy
metadata: {name: sidecar}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  matchConditions:
  - {name: none-yet, expression: "!object.spec.containers.exists(c, c.name == 'proxy')"}
  reinvocationPolicy: IfNeeded
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >
        Object{spec: Object.spec{containers: [Object.spec.containers{name: "proxy", image: "proxy:1"}]}}
  - patchType: JSONPatch
    jsonPatch:
      expression: >
        [JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/mesh"), value: "on"}]
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata: {name: sidecar}
spec: {policyName: sidecar}
`;

test("policies from kubectl: applied, felt, changed and deleted", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const kubectl = async (command: string, input?: string): Promise<string> => {
    const { stdout, stderr } = await api.kubectl(minor, command.split(" "), { ...(input !== undefined && { input }) });
    return `${stdout}${stderr}`.trim();
  };
  const denied = (why: string): string => `error: failed to create deployment: deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'replica-limit' with binding 'replica-limit' denied request: ${why}`;
  const web = "create deployment web --image=web:1 --replicas=5";

  await t.test("a policy with a parameter", async () => {
    assert.equal(await kubectl("apply -f -", validating), "validatingadmissionpolicy.admissionregistration.k8s.io/replica-limit created\nvalidatingadmissionpolicybinding.admissionregistration.k8s.io/replica-limit created");
    assert.equal(await kubectl(web), denied("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"));
    await kubectl("create configmap limits --from-literal=most=3");
    assert.equal(await kubectl(web), denied("replicas must be at most 3, not 5"));
    await kubectl("patch configmap limits -p {\"data\":{\"most\":\"9\"}}");
    assert.equal(await kubectl(`${web} --dry-run=server`), "deployment.apps/web created (server dry run)");
    await kubectl("patch configmap limits -p {\"data\":{\"most\":\"3\"}}");
  });

  await t.test("what it looks like", async () => {
    assert.match(await kubectl("get validatingadmissionpolicies"), /^NAME +VALIDATIONS +PARAMKIND +AGE\nreplica-limit +1 +v1\/ConfigMap +\d+s$/);
    assert.match(await kubectl("get validatingadmissionpolicybindings"), /^NAME +POLICYNAME +PARAMREF +AGE\nreplica-limit +replica-limit +default\/limits +\d+s$/);
    assert.equal(await kubectl("get validatingadmissionpolicy replica-limit -o jsonpath={.status}"), '{"observedGeneration":1,"typeChecking":{}}');
    // kubectl sends rules whose scope it does not state; nothing comes of it.
    await kubectl("apply -f -", validating);
    assert.equal(await kubectl("get validatingadmissionpolicy replica-limit -o jsonpath={.metadata.generation}"), "1");
  });

  await t.test("a warning instead", async () => {
    await kubectl("patch validatingadmissionpolicybinding replica-limit -p {\"spec\":{\"validationActions\":[\"Warn\"]}}");
    assert.equal(await kubectl(web), "deployment.apps/web created\nWarning: Validation failed for ValidatingAdmissionPolicy 'replica-limit' with binding 'replica-limit': replicas must be at most 3, not 5");
    await kubectl("delete validatingadmissionpolicybinding replica-limit");
    assert.equal(await kubectl("create deployment other --image=web:1 --replicas=50"), "deployment.apps/other created");
  });

  await t.test("an expression that cannot be right", async () => {
    const said = await kubectl("create -f -", validating.replace("name: replica-limit", "name: wrong").replace("object.spec.replicas <= variables.most", "object.spec.replicas <= variables.least").split("---")[0]);
    assert.equal(said, `The ValidatingAdmissionPolicy "wrong" is invalid: spec.validations[0].expression: Invalid value: "object.spec.replicas <= variables.least": compilation failed: ERROR: <input>:1:34: undefined field 'least'\n | object.spec.replicas <= variables.least\n | .................................^`);
  });

  await t.test("a policy that adds", async () => {
    assert.equal(await kubectl("apply -f -", mutating), "mutatingadmissionpolicy.admissionregistration.k8s.io/sidecar created\nmutatingadmissionpolicybinding.admissionregistration.k8s.io/sidecar created");
    await kubectl("run web --image=web:1");
    assert.equal(await kubectl("get pod web -o jsonpath={.spec.containers[*].name}"), "web proxy");
    assert.equal(await kubectl("get pod web -o jsonpath={.metadata.labels}"), '{"example.com/mesh":"on","run":"web"}');
    assert.match(await kubectl("get mutatingadmissionpolicies"), /^NAME +MUTATIONS +PARAMKIND +AGE\nsidecar +2 +<unset> +\d+s$/);
    await kubectl("delete mutatingadmissionpolicybinding sidecar");
    await kubectl("run plain --image=web:1");
    assert.equal(await kubectl("get pod plain -o jsonpath={.spec.containers[*].name}"), "plain");
  });
});
