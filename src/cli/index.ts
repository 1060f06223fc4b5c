/** A command. `run` gets the words after its name and gives the exit code (undefined: 0). */
export interface Verb {
  name: string;
  /** One line for `wherry --help`; empty for processes that only Wherry itself starts. */
  summary: string;
  load(): Promise<{ run(argv: string[]): Promise<number | void> }>;
}

/** Every verb: one file, one line. */
export const verbs: readonly Verb[] = [
  { name: "up", summary: "Start the stack, apply the given folders, show what runs and where", load: () => import("./up.ts") },
  { name: "down", summary: "Stop the stack; every pod gets its full grace", load: () => import("./down.ts") },
  { name: "status", summary: "What runs, where to reach it, how healthy, what is wrong and what to do", load: () => import("./status.ts") },
  { name: "route", summary: "Explain which listener, route and endpoints would serve a request, and why", load: () => import("./route.ts") },
  { name: "api", summary: "APIs as products: list them, promote and roll back their deployments, their keys", load: () => import("./api.ts") },
  { name: "hosts", summary: "Have this machine find the host names of Ingresses and Gateways, or --undo it", load: () => import("./hosts.ts") },
  { name: "trust", summary: "Have this machine trust the certificates that the stack issues, or --undo it", load: () => import("./trust.ts") },
  { name: "backup", summary: "Write the whole stack into one file, while it runs", load: () => import("./backup.ts") },
  { name: "reset", summary: "Delete everything that the stack has stored", load: () => import("./reset.ts") },
  { name: "kubeconfig", summary: "Print the path of the kubeconfig, or --merge it into your own", load: () => import("./kubeconfig.ts") },
  { name: "doctor", summary: "What this machine can give, what it cannot, and the command that would lift it", load: () => import("./doctor.ts") },
  { name: "version", summary: "Print versions", load: () => import("./version.ts") },
  { name: "help", summary: "This page", load: () => import("./help.ts") },
  { name: "internal:api", summary: "", load: () => import("./internal-api.ts") },
  { name: "internal:first-objects", summary: "", load: () => import("./internal-first-objects.ts") },
  { name: "internal:apply", summary: "", load: () => import("./internal-apply.ts") },
  { name: "internal:stack", summary: "", load: () => import("./internal-stack.ts") },
];
