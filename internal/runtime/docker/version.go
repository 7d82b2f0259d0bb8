package docker

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
)

// EngineVersion asks the engine for its version; for a doctor.
func (r *Runtime) EngineVersion(ctx context.Context) (string, error) {
	v, err := r.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", r.fault(err, "ask for the engine's version")
	}
	return fmt.Sprintf("Docker Engine %s, API %s", v.Version, v.APIVersion), nil
}
