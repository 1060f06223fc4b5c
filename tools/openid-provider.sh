#!/bin/sh
# A real OpenID provider for test/conformance/openid.test.ts, into .cache/openid: the certified one of npm.
set -eu
folder="$(cd "$(dirname "$0")/.." && pwd)/.cache/openid"
mkdir -p "$folder"
cd "$folder"
cat > package.json <<'END'
{ "private": true, "dependencies": { "oidc-provider": "9" } }
END
npm install --no-audit --no-fund --ignore-scripts
