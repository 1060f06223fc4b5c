#!/bin/sh
# Installs what bench/chassis.ts compares with, below .cache/chassis-peers: Fastify with pino, prom-client and OpenTelemetry
# as their own pages set them up, and Express. Nothing of it is a dependency.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache/chassis-peers
cd .cache/chassis-peers
cat > package.json <<'JSON'
{ "name": "chassis-peers", "private": true, "type": "module" }
JSON
npm install --no-audit --no-fund --loglevel=error --save-exact \
  fastify@5.12.8 express@5 pino@10 prom-client@15 \
  @opentelemetry/api@1 @opentelemetry/sdk-node @opentelemetry/exporter-trace-otlp-http \
  @opentelemetry/instrumentation-http @opentelemetry/instrumentation-pino @fastify/otel
npm ls --depth=0
