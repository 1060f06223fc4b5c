import type { FastifyInstance } from "fastify";
import { createService, type Service } from "wherry/chassis";
import { serveOpenApi } from "./openapi.ts";

export interface ShopOptions {
  name: string;
  /** In its OpenAPI document. */
  title: string;
  /** What the service answers; mounted at `/` and at `/<collection>`: a gateway may cut the prefix off, or leave it. */
  collection: string;
  routes: (app: FastifyInstance) => void;
}

/** The manifests have a preStop that sleeps 15 s, in which load balancers learn of the end: of the 30 s of grace that is left. */
const shutdown = { endpointsMs: 0, deadlineMs: 13_000 };

/** A service of the shop: of the chassis, and with the words in which all of them tell of their health. */
export function createShopService({ name, title, collection, routes }: ShopOptions): Service {
  const service = createBareService(name);
  const { app } = service;
  serveOpenApi(service, title, collection);
  for (const prefix of ["", `/${collection}`]) {
    app.register((scope, _options, done) => {
      routes(scope);
      done();
    }, { prefix });
  }
  return service;
}

/** Without routes of its own yet. */
export function createBareService(name: string): Service {
  return createService({ name, shutdown, healthDetails: false });
}

/** Where a service is: by its name in the cluster, or where <NAME>_URL says (USER_SERVICE_URL). */
export function serviceUrl(name: string): string {
  return (process.env[`${name.toUpperCase().replaceAll("-", "_")}_URL`] ?? `http://${name}`).replace(/\/$/, "");
}
