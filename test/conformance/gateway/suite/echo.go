//go:build tools

// Package gateway runs the suite; the echo server that its manifests start is built from the same module.
package gateway

import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
