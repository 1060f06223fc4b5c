import { verbs } from "./index.ts";

export async function run(): Promise<void> {
  const lines = verbs.filter((verb) => verb.summary !== "").map((verb) => `  ${verb.name.padEnd(12)}${verb.summary}`);
  process.stdout.write(`wherry: the whole cloud-native stack as one command, driven through the standard APIs.

Usage: wherry COMMAND [OPTIONS]

Commands:
${lines.join("\n")}

Examples:
  wherry up                         start an empty stack
  wherry up ./my-app                start it and run what the folder holds (manifests, kustomization, skaffold.yaml)
  wherry up --link ./my-app         know the images of a folder without applying its manifests
  wherry status                     what runs and where to reach it
  export KUBECONFIG=$(wherry kubeconfig)
  kubectl get pods -A               ordinary kubectl from here on

\`wherry COMMAND --help\` shows the options of a command.
`);
}
