#!/bin/sh
# The public suite for HTTP caches (github.com/http-tests/cache-tests, BSD-3-Clause), at one commit, into .cache/cache-tests, with the
# one package that it runs with; and Varnish of this Debian beside it, if it can be had. CACHE_TESTS_SOURCE names another copy of the
# repository.
set -eu
commit=b55b8bda3dbb8c927c04e85bd8d496a8caa3e4ba
folder="$(cd "$(dirname "$0")/.." && pwd)/.cache/cache-tests"
mkdir -p "$folder"
cd "$folder"
if [ ! -e suite/tests/index.mjs ]; then
  rm -rf repository suite
  git init -q --bare repository
  git -C repository fetch -q --depth 1 "${CACHE_TESTS_SOURCE:-https://github.com/http-tests/cache-tests.git}" "$commit"
  mkdir suite
  git -C repository archive "$commit" | tar -x -C suite
  rm -rf repository
fi
[ -d node_modules/undici ] || {
  echo '{ "private": true, "dependencies": { "undici": "7" } }' > package.json
  npm install --no-audit --no-fund --ignore-scripts
}
[ -x usr/sbin/varnishd ] || {
  apt-get download varnish libvarnishapi3 && for package in *.deb; do dpkg -x "$package" .; done || echo "Varnish cannot be had here" >&2
  rm -f -- *.deb
}
