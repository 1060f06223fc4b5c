import { execFileSync } from "node:child_process";
import { dirname } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

test("Ingress: rewrites, TLS, redirects, canaries, sessions, limits, statuses and Events", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "python3", "openssl")) return;
  await using wherry = await startWherry({ test: t });
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=shop", "-addext", "subjectAltName=DNS:api.ecommerce.example.com", "-keyout", "tls.key", "-out", "tls.crt"], { cwd: dirname(wherry.dataDir), stdio: "ignore" });
  await playTranscript(wherry, "ingress", { "echo.yaml": echo, "ingress.yaml": seed, "more.yaml": more });
});

/** Says who answers, and what came. Three Services; the second and third are the first's rivals. */
const program = `
import http.server, json, os, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (sys.argv[1] + " " + self.headers["host"].split(":")[0] + " " + self.path + " " + os.environ["HOSTNAME"] + chr(10)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Echo).serve_forever()
`;

const deployment = (name: string, replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ecommerce}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: python:3
        command: [python3, -c, ${JSON.stringify(program)}, ${name}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: ecommerce}
spec: {selector: {app: ${name}}, ports: [{name: http, port: 80, targetPort: http}]}
---`;
const echo = `apiVersion: v1
kind: Namespace
metadata: {name: ecommerce}
---${deployment("user-service", 2)}${deployment("product-service", 1)}`;

const seed = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ecommerce-ingress
  namespace: ecommerce
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /
    nginx.ingress.kubernetes.io/rate-limit: "100"
spec:
  tls:
  - hosts:
    - api.ecommerce.example.com
    secretName: ecommerce-tls
  rules:
  - host: api.ecommerce.example.com
    http:
      paths:
      - path: /users
        pathType: Prefix
        backend:
          service:
            name: user-service
            port:
              number: 80
      - path: /products
        pathType: Prefix
        backend:
          service:
            name: product-service
            port:
              number: 80
`;

const ingress = (name: string, host: string, service: string, annotations: Record<string, string>) => `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ${name}
  namespace: ecommerce
  annotations: ${JSON.stringify(Object.fromEntries(Object.entries(annotations).map(([key, value]) => [`nginx.ingress.kubernetes.io/${key}`, value])))}
spec:
  ingressClassName: nginx
  rules:
  - host: ${host}
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: ${service}, port: {name: http}}}}]}
---`;
const empty = `
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: ecommerce}
spec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}
---`;
const more = [
  empty,
  ingress("down", "down.example.com", "nobody", { "default-backend": "product-service" }),
  ingress("main", "canary.example.com", "user-service", {}),
  ingress("rival", "canary.example.com", "product-service", { canary: "true", "canary-weight": "20", "canary-by-header": "x-canary" }),
  ingress("sticky", "sticky.example.com", "user-service", { affinity: "cookie", "session-cookie-name": "route" }),
  ingress("slow", "slow.example.com", "user-service", { "limit-rpm": "1", "limit-burst-multiplier": "2" }),
  ingress("guarded", "guarded.example.com", "user-service", { "auth-url": "https://example.com/auth" }),
  ingress("odd", "odd.example.com", "user-service", { "no-such-thing": "1" }),
].join("");
