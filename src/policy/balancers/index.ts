import type { Balancer } from "../../api/traffic.ts";
import type { BalancerFactory } from "./balancer.ts";
import { leastRequest } from "./least-request.ts";
import { maglev } from "./maglev.ts";
import { peakEwma } from "./peak-ewma.ts";
import { random } from "./random.ts";
import { ringHash } from "./ring-hash.ts";
import { roundRobin } from "./round-robin.ts";

/** Every type of {@link Balancer}: a new one is a file, a line here, and its row in `api/traffic.ts`. */
export const balancers: { readonly [T in Balancer["type"]]: BalancerFactory<Extract<Balancer, { type: T }>> } = { leastRequest, maglev, peakEwma, random, ringHash, roundRobin };
