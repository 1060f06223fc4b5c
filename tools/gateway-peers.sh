#!/bin/sh
# Unpacks nginx, HAProxy, Caddy and wrk of this Debian below .cache/gateway-peers, where bench/gateway.ts looks for them.
# Nothing is installed: no root, no service, no file elsewhere.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .cache/gateway-peers/packages
cd .cache/gateway-peers/packages
apt-get download nginx nginx-common haproxy caddy wrk libluajit-5.1-2 libluajit-5.1-common liblua5.3-0 libopentracing1 libopentracing-c-wrapper0
for package in *.deb; do dpkg -x "$package" ..; done
rm -- *.deb
