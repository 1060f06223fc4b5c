import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { childFlags } from "../../src/cli/up.ts";
import { entry } from "../../src/wherry.ts";
import type { TestWherry } from "../harness.ts";

/** A folder of somebody's, with files that a test saves as editors do. */
export class Folder {
  readonly path: string;

  constructor(t: TestContext, files: Readonly<Record<string, string>>) {
    // In plain mode as root a pod is another user, who must reach its code by the path.
    const path = mkdtempSync(join(tmpdir(), "wherry-edit-"));
    chmodSync(path, 0o755);
    this.path = path;
    for (const [name, text] of Object.entries(files)) this.write(name, text);
    t.after(() => rmSync(path, { recursive: true, force: true }));
  }
  write(name: string, text: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), text);
  }
  read(name: string): string {
    return readFileSync(join(this.path, name), "utf8");
  }
  /** As most editors: a new file beside the old one takes its place. */
  save(name: string, text: string): void {
    writeFileSync(join(this.path, `.${name.replaceAll("/", "-")}.tmp`), text);
    renameSync(join(this.path, `.${name.replaceAll("/", "-")}.tmp`), join(this.path, name));
  }
  remove(name: string): void {
    rmSync(join(this.path, name), { recursive: true });
  }
}

/** What `wherry up` does once the stack stands: its own child, which goes on watching. */
export class Watching {
  output = "";
  #waiting = new Set<() => void>();
  #mark = 0;

  constructor(t: TestContext, wherry: TestWherry, paths: readonly string[], more: Record<string, unknown> = {}) {
    const child = spawn(process.execPath, [...childFlags, entry, "internal:apply", JSON.stringify({ dataDir: wherry.dataDir, paths, links: [], watch: true, ...more })], { env: wherry.env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
    const ended = new Promise<void>((done) => child.on("close", () => done()));
    for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => {
      this.output += chunk.toString();
      for (const look of this.#waiting) look();
    });
    child.on("message", () => {
      this.output += "(watching)\n";
      for (const look of this.#waiting) look();
    });
    t.after(async () => {
      child.kill("SIGTERM");
      await ended;
      if (!t.passed) t.diagnostic(this.output);
    });
  }

  /** What was said since the last `next`, up to where `pattern` matches. */
  async next(pattern: RegExp, deadlineMs = 30_000): Promise<string> {
    const began = this.#mark;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(this.output.slice(began));
          if (!found) return;
          this.#waiting.delete(look);
          this.#mark = began + found.index + found[0].length;
          resolve(this.output.slice(began, this.#mark));
        };
        timer = setTimeout(() => reject(new Error(`nothing matches ${pattern} in:\n${this.output.slice(began)}`)), deadlineMs);
        this.#waiting.add(look);
        look();
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** One Deployment with its Service, whose image is the folder. */
export function appFolder(options: { replicas: number; program: string; command?: string[]; probe?: string; more?: Record<string, string> }): Record<string, string> {
  const { replicas, program, command = ["node", "server.js"], probe = "readinessProbe: { httpGet: { path: /, port: 8080 }, initialDelaySeconds: 1, periodSeconds: 5 }" } = options;
  return {
    "skaffold.yaml": "apiVersion: skaffold/v4beta11\nkind: Config\nbuild: { artifacts: [{ image: edit/app }] }\nmanifests: { rawYaml: [k8s/*.yaml] }\n",
    Dockerfile: `FROM node:26\nWORKDIR /app\nCOPY . .\nENV COLOUR=green\nEXPOSE 8080\nCMD ${JSON.stringify(command)}\n`,
    "package.json": '{ "type": "module" }\n',
    "server.js": program,
    "k8s/app.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: { name: app }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: app } }
  template:
    metadata: { labels: { app: app } }
    spec:
      containers:
      - name: app
        image: edit/app
        ports: [{ containerPort: 8080 }]
        ${probe}
---
apiVersion: v1
kind: Service
metadata: { name: app }
spec:
  selector: { app: app }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
`,
    ...options.more,
  };
}

/** Answers with its version, a few milliseconds late, and does not know SIGTERM: the least careful program there is. */
export const server = (version: string) => `import { createServer } from "node:http";
createServer((_request, response) => setTimeout(() => response.end(\`${version} \${process.env.COLOUR}\`), 3)).listen(8080);
`;
