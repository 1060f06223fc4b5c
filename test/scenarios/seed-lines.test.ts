import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { localAuthority } from "../../src/api/x509/local-authority.ts";
import { entry } from "../../src/wherry.ts";
import { needs } from "../needs.ts";
import { CommandLine, everybodyMayRead, nobody } from "./command-line.ts";
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

test("trust: another authority takes the place of the old one, what others have put or changed is not touched, and without root the command is printed", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "update-ca-certificates", "setpriv")) return;
  await using desk = new CommandLine(t);
  const anchors = "/usr/local/share/ca-certificates";
  const over = [{ path: "/etc/ca-certificates.conf", text: "# none\n" }, { path: "/etc/ssl/certs", empty: true }, { path: anchors, empty: true }];
  await using machine = await privateMachine(t, { folder: desk.folder, over });
  if (!machine) return;
  desk.prefix = machine.enter;
  const dataDir = desk.path("data");
  const there = desk.path("copies", anchors);
  const anchorsThere = () => readdirSync(there).sort();
  const trust = (...words: string[]) => desk.wherry("trust", "--data-dir", dataDir, ...words);

  const refused = await trust();
  assert.deepEqual([refused.code, anchorsThere()], [9, []]);
  localAuthority(dataDir, Date.now());
  assert.equal((await trust()).code, 0);
  const [first] = anchorsThere();
  assert.match(first!, /^wherry-[0-9a-f]{8}\.crt$/);

  // A further name makes it another authority.
  writeFileSync(join(dataDir, "trust", "names"), "shop.wherry.dev\n");
  localAuthority(dataDir, Date.now());
  const exchanged = await trust();
  assert.match(exchanged.stdout, new RegExp(`removed  ${anchors}/${first}`));
  const [second, ...more] = anchorsThere();
  assert.deepEqual([second !== first, more], [true, []]);
  assert.equal(readFileSync(desk.path("copies", "/etc/ssl/certs", "ca-certificates.crt"), "utf8").match(/BEGIN CERTIFICATE/g)?.length, 1);

  writeFileSync(join(there, second!), "somebody else's\n");
  assert.match((await trust()).stderr, /holds something else: nothing was changed/);
  assert.match((await trust("--undo")).stdout, /left {5}.*somebody has changed it since/);
  assert.deepEqual(anchorsThere(), [second]);
  rmSync(join(there, second!));

  if (!everybodyMayRead(entry)) return;
  execFileSync("chown", ["-R", `${nobody}:${nobody}`, dataDir]);
  desk.prefix = [...machine.enter, "setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];
  const printed = await trust();
  assert.deepEqual([printed.code, anchorsThere()], [1, []]);
  const command = /^ {2}sudo (.*)$/m.exec(printed.stdout)![1]!;
  // What is printed does it, as root, and leaves nothing in the folder that its owner could not replace.
  execFileSync(machine.enter[0]!, [...machine.enter.slice(1), "/bin/sh", "-c", command], { env: desk.env });
  assert.deepEqual(anchorsThere(), [second]);
  assert.equal(statSync(join(dataDir, "trusted.json")).uid, nobody);
  assert.match((await trust("--undo")).stdout, /sudo .* trust --undo --data-dir/);
  assert.deepEqual(anchorsThere(), [second]);
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
