package server

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// besides says what stands beside tenants, and whether something should have gone by itself and has not.
func (s *server) besides(ctx context.Context) (string, error) {
	list, err := s.store.Besides(ctx, "", "")
	if err != nil {
		return "", err
	}
	var overdue []string
	for _, b := range list {
		if time.Since(b.ExpiresAt) > time.Hour {
			overdue = append(overdue, fmt.Sprintf("%s beside %s/%s, since %s", b.Name, b.Environment, b.Tenant, b.ExpiresAt.UTC().Format(time.RFC3339)))
		}
	}
	if len(overdue) > 0 {
		return "", fmt.Errorf("what should have gone by itself is still there: %s", strings.Join(overdue, "; "))
	}
	return fmt.Sprintf("%d stand beside a tenant", len(list)), nil
}
