//go:build tools

// Package helm pins the Helm that Waybill's chart is tested with. It is a module of its own: nothing else shall be built
// at another version because of it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
