import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

/** Says what arrives. */
const backend = `
apiVersion: v1
kind: Pod
metadata: {name: pets, labels: {app: pets}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: node:22
    command: [node, -e, "require('http').createServer((q, r) => r.end(q.method + ' ' + q.url + '\\\\n')).listen(8080)"]
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: pets}
spec: {selector: {app: pets}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: wherry, listeners: [{name: web, port: 8080, protocol: HTTP}]}
`;

const document = (version: string, more: string) => `
openapi: 3.1.0
info: {title: Pets, version: "${version}"}
servers: [{url: /v1}]
components: {securitySchemes: {key: {type: apiKey, in: header, name: x-api-key}}}
paths:
  /pets:
    get: {operationId: listPets}
    post: {operationId: addPet, requestBody: {required: true, content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}}}}}}}
  /hello/{name}: {get: {x-amazon-apigateway-integration: {type: mock, requestTemplates: {application/json: '{"statusCode": 200}'}, responses: {default: {statusCode: '200', responseTemplates: {text/plain: "hello $input.params('name') in $context.stage, $stageVariables.colour\\n"}}}}}}
  /pets/{id}: {get: {operationId: getPet}}
  /orders: {get: {operationId: listOrders, security: [{key: []}]}}
${more}`;

const api = `
apiVersion: api.wherry.dev/v1alpha1
kind: API
metadata: {name: pets}
spec:
  documentFrom: {configMapKeyRef: {name: pets-openapi, key: openapi.yaml}}
  stages:
  - {name: dev, parentRefs: [{name: edge}], path: /dev, validation: All, variables: {colour: blue}, backendRef: {name: pets, port: 80}}
  - {name: prod, deployment: 1, parentRefs: [{name: edge}], hostnames: [api.example.com], backendRef: {name: pets, port: 80}}
`;

const policy = ["dev", "prod"]
  .map(
    (stage) => `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: pets-${stage}}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: pets.${stage}, sectionName: list-orders}]
  apiKeyAuth: {credentialRefs: [{name: pets-keys}], extractFrom: [{headers: [x-api-key]}]}
`,
  )
  .join("---");

const plans = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: plans}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: pets.prod}]
  rateLimit: {type: Global, global: {rules: [{limit: {requests: 1000000, unit: Month}}]}}
`;

/** Says who may by the first word of a token; shows what it is shown. */
const members = `
apiVersion: v1
kind: Pod
metadata: {name: auth, labels: {app: auth}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: node:22
    command:
    - node
    - -e
    - |
      let asked = 0;
      require('http').createServer((q, r) => {
        if (q.url === '/shown') return r.end(q.headers.authorization + '\\n');
        if (q.url === '/asked') return r.end(asked + '\\n');
        let body = '';
        q.on('data', (d) => (body += d)).on('end', () => {
          asked++;
          const { authorizationToken: token, methodArn } = JSON.parse(body);
          const [word, name] = token.split(' ');
          if (word === 'broken') return r.writeHead(500).end();
          const Statement = [{ Action: 'execute-api:Invoke', Effect: word === 'allow' ? 'Allow' : 'Deny', Resource: methodArn }];
          r.end(JSON.stringify({ principalId: name, policyDocument: { Version: '2012-10-17', Statement }, context: { team: 'blue' } }));
        });
      }).listen(8080);
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: auth}
spec: {selector: {app: auth}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: api.wherry.dev/v1alpha1
kind: API
metadata: {name: members}
spec:
  document:
    openapi: 3.0.1
    info: {title: Members, version: "1"}
    components:
      securitySchemes:
        token: {type: apiKey, in: header, name: Authorization, x-amazon-apigateway-authtype: custom, x-amazon-apigateway-authorizer: {type: token, identityValidationExpression: "[a-z]+ [a-z]+"}}
        key: {type: apiKey, in: header, name: x-api-key}
    paths:
      /me: {get: {operationId: me, security: [{token: []}], x-amazon-apigateway-integration: {type: mock, requestTemplates: {application/json: '{"statusCode": 200}'}, responses: {default: {statusCode: '200', responseTemplates: {text/plain: "hello $context.authorizer.principalId of $context.authorizer.team\\n"}}}}}}
      /peek: {get: {operationId: peek, security: [{key: []}], x-amazon-apigateway-integration: {type: http_proxy, httpMethod: GET, uri: "http://pets/peek"}}}
      /counted: {get: {operationId: counted, security: [{key: []}], x-amazon-apigateway-integration: {type: http_proxy, httpMethod: GET, uri: "http://pets/counted"}}}
      /asked: {get: {operationId: asked, x-amazon-apigateway-integration: {type: http_proxy, httpMethod: GET, uri: "http://auth/asked"}}}
      /shown: {get: {operationId: shown, x-amazon-apigateway-integration: {type: http_proxy, httpMethod: GET, uri: "http://auth/shown"}}}
  stages:
  - name: live
    parentRefs: [{name: edge}]
    path: /members
    authorizers: [{scheme: token, backendRef: {name: auth, port: 80}}]
    plans: [{name: gold, secretRef: {name: gold}, operations: [{operation: counted, quota: {requests: 3, unit: Year}}]}]
    credentials: [{backendRef: {name: auth}, secretRef: {name: auth}}]
`;

test("an API: its document in two stages, deployed, promoted, rolled back; its keys; what it asks for is checked or not served", { timeout: 120_000 }, async (t) => {
  if (!process.env["WHERRY_CONFORMANCE"]) return t.skip("set WHERRY_CONFORMANCE=1; npm run conformance does");
  if (!needs(t, "kubectl", "curl")) return;
  await using wherry = await startWherry({ test: t });
  const files = {
    "backend.yaml": backend,
    "one.yaml": document("1", ""),
    "two.yaml": document("2", "  /status: {get: {x-amazon-apigateway-integration: {type: mock, requestTemplates: {application/json: '{\"statusCode\": 200}'}, responses: {default: {statusCode: '200', responseTemplates: {text/plain: fine}}}}}}"),
    "api.yaml": api,
    "policy.yaml": policy,
    "plans.yaml": plans,
    "members.yaml": members,
    "stage.json": JSON.stringify([
      { op: "add", path: "/spec/stages/0/cache", value: { ttlSeconds: 3600, maxBytes: 1_000_000 } },
      { op: "add", path: "/spec/stages/0/documentPath", value: "/openapi.json" },
      { op: "add", path: "/spec/stages/0/rules", value: [{ name: "admin", deny: { in: ["path"], pattern: "admin" } }, { name: "script", deny: { in: ["query", "body"], pattern: "<script" } }, { name: "scanners", action: "Log", deny: { headers: ["user-agent"], pattern: "sqlmap" } }] },
    ]),
  };
  await playTranscript(wherry, "api-product", files, { env: { WHERRY_DATA_DIR: wherry.dataDir }, variables: { WHERRY: `${process.execPath} ${entry}` } });
});
