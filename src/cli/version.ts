import { kubernetesVersion } from "../api/resources.ts";
import { wherryVersion } from "../wherry.ts";

export async function run(): Promise<void> {
  process.stdout.write(`wherry ${wherryVersion()}\nserves Kubernetes ${kubernetesVersion}\nNode ${process.version} ${process.platform}-${process.arch}\n`);
}
