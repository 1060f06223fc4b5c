import { createServer } from "node:http";
import { hostname } from "node:os";

createServer((request, response) => response.end(`${process.env.VERSION} ${hostname()} ${request.headers["x-forwarded-for"] ?? "-"} ${request.headers.host}\n`)).listen(8080);
