import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { entry } from "../../src/wherry.ts";
import { needs } from "../needs.ts";
import { CommandLine } from "./command-line.ts";
import { privateMachine } from "./private-machine.ts";
import { runTranscript } from "./transcript.ts";

test("a tutorial's curl lines, as printed: the machine finds the names and trusts the certificates, and all is undone", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "python3", "update-ca-certificates")) return;
  await using desk = new CommandLine(t);
  // Of all the world's authorities two: every one of them costs update-ca-certificates its time.
  const two = readFileSync("/etc/ca-certificates.conf", "utf8").split("\n").filter((line) => /^[\w/]/.test(line)).slice(0, 2);
  const over = [{ path: "/etc/hosts" }, { path: "/etc/ca-certificates.conf", text: `${two.join("\n")}\n` }, { path: "/etc/ssl/certs", empty: true }, { path: "/usr/local/share/ca-certificates", empty: true }];
  await using machine = await privateMachine(t, { folder: desk.folder, over });
  if (!machine) return;
  desk.prefix = machine.enter;
  const dataDir = desk.path("data");
  writeFileSync(desk.path("bin", "wherry"), `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(desk.path("bin", "wherry"), 0o755);

  const stack = desk.start("up", "--data-dir", dataDir);
  await stack.said(/Press Ctrl-C/);
  writeFileSync(desk.path("shop.yaml"), shop);
  writeFileSync(desk.path("ingress.yaml"), ingress);
  writeFileSync(desk.path("loop.sh"), loop);
  // What others write while our block is there stays.
  writeFileSync(desk.path("after-ours.txt"), "10.9.8.7 somebody.example.com\n");
  const hosts = readFileSync("/etc/hosts", "utf8");
  writeFileSync(desk.path("hosts.before-and-after"), `${hosts}${hosts.endsWith("\n") ? "" : "\n"}10.9.8.7 somebody.example.com\n`);
  const env = { ...desk.env, KUBECONFIG: join(dataDir, "kubeconfig"), WHERRY_DATA_DIR: dataDir };
  await runTranscript(join(import.meta.dirname, "seed-lines.transcript"), { cwd: desk.folder, env, shell: [...machine.enter, "/bin/sh", "-c", 'cd "$0" && eval "$1"', desk.folder], variables: { DATA: dataDir }, ...(process.env["STEPS"] && { onStep: (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`) }) });
});

/** Says which pod answers. */
const program = `
import http.server, os
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("user-service " + self.path + " " + os.environ["HOSTNAME"] + chr(10)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Echo).serve_forever()
`;
const shop = `
apiVersion: v1
kind: Namespace
metadata: {name: ecommerce}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: user-service, namespace: ecommerce}
spec:
  replicas: 2
  selector: {matchLabels: {app: user-service}}
  template:
    metadata: {labels: {app: user-service}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: python:3
        command: [python3, -c, ${JSON.stringify(program)}]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: user-service, namespace: ecommerce}
spec:
  selector: {app: user-service}
  ports:
  - protocol: TCP
    port: 80
    targetPort: 8080
  type: ClusterIP
`;

/** The tutorial's, unchanged. */
const ingress = `
# k8s/ingress.yaml
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: ecommerce-ingress
  namespace: ecommerce
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /
    nginx.ingress.kubernetes.io/rate-limit: "100"
    cert-manager.io/cluster-issuer: "letsencrypt-prod"
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
const loop = `for i in {1..10}; do
  curl https://api.ecommerce.example.com/users/health
done
`;
