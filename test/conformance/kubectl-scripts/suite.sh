#!/usr/bin/env bash
# Runs one function of Kubernetes' test/cmd/*.sh against a server that is there already: suite.sh FUNCTION.
# KUBERNETES is the source tree, BIN a folder with the kubectl to test, PORT the server's, KUBECONFIG its file.
# What upstream's hack/make-rules/test-cmd.sh does around them (building, etcd, starting servers) is left out.
set -o errexit -o nounset -o pipefail

export LANG=C
cd "${KUBERNETES}"
export KUBE_ROOT="${KUBERNETES}" THIS_PLATFORM_BIN="${BIN}" PATH="${BIN}:${PATH}"
# No terminal, no colours.
tput() { :; }
source hack/lib/logging.sh
source hack/lib/util.sh
source hack/lib/version.sh
source hack/lib/test.sh
export SECURE_API_PORT="${PORT}" API_HOST=127.0.0.1 ALLOW_SKEW=1 CONTEXT=test SUPPORTED_RESOURCES='*' SED=sed
export KUBE_JUNIT_REPORT_DIR="${TMPDIR}/junit" KUBE_TEMP="${TMPDIR}" TMPDIR
# It asks that the authority be named 127.0.0.1; that certificates count is seen by the steps after it.
kube::util::test_client_certificate_authentication_enabled() { :; }
source test/cmd/legacy-script.sh > "${TMPDIR}/source.log" 2>&1

# With a suite that does nothing, runTests only sets the variables that the suites read.
run_nothing_tests() { :; }
kube::test::clear_all() { :; }
WHAT=nothing runTests > "${TMPDIR}/variables.log" 2>&1

# As record_command does: the suites switch errexit on themselves, in a shell of their own.
set +o nounset +o errexit
( "$1" )
