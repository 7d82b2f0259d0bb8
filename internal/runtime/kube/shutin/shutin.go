// Package shutin proves, inside a pod and before anything else runs there, that the pod reaches one address and not others: that the
// cluster enforces network policies, and has come round to this pod, which it may do only after the pod has begun.
package shutin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// patience is how long a cluster may take to come round to a pod.
const patience = 30 * time.Second

// dialTimeout is how long a connection may take before it counts as none. What is shut mostly does not answer at all.
const dialTimeout = time.Second

// Check returns once open is reached and none of shut is. Those of shut must be addresses that are reached where no policy is in force.
func Check(ctx context.Context, open string, shut []string) error {
	if open == "" || len(shut) == 0 {
		return errors.New("shut-in: expected an address to reach, and at least one not to")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := once(ctx, open, shut)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// once tries everything at the same time. Where time runs out meanwhile, that is what it says: a dial that was cut off proves nothing.
func once(ctx context.Context, open string, shut []string) error {
	all := append([]string{open}, shut...)
	errs := make([]error, len(all))
	var tries sync.WaitGroup
	for i, address := range all {
		tries.Go(func() {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			errs[i] = err
		})
	}
	tries.Wait()
	var reached []string
	for i, address := range shut {
		if errs[i+1] == nil {
			reached = append(reached, address)
		}
	}
	switch {
	case len(reached) > 0:
		return fmt.Errorf("this pod reaches %s, which no network policy lets it: what runs here could send whatever it likes; use a network plugin that enforces NetworkPolicy for pods' outgoing connections", strings.Join(reached, " and "))
	case errs[0] != nil:
		return fmt.Errorf("this pod does not reach %s, which its network policy lets it: is something between the pods and Waybill's machine or pod, a firewall or a policy of its namespace? %w", open, errs[0])
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return nil
}
