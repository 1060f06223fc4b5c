#!/bin/sh
# The public suite for JSON Schema (github.com/json-schema-org/JSON-Schema-Test-Suite, MIT), at one commit, into .cache/schema-tests,
# where test/conformance/schema.test.ts looks for it. SCHEMA_TESTS_SOURCE: another place to get it from.
set -eu
commit=44401e0c046704b476ec9d2e2fccdaee618f259d
folder="$(cd "$(dirname "$0")/.." && pwd)/.cache/schema-tests"
[ -f "$folder/$commit" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
git init -q repository
git -C repository fetch -q --depth 1 "${SCHEMA_TESTS_SOURCE:-https://github.com/json-schema-org/JSON-Schema-Test-Suite.git}" "$commit"
git -C repository checkout -q FETCH_HEAD
touch "$commit"
