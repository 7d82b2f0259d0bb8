package server

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/notify"
)

// tellPeople takes what people must hear of from the outbox to the estate's targets, until ctx is done.
func (s *server) tellPeople(ctx context.Context) error {
	d := notify.Dispatcher{Store: s.store, Log: s.log, Estate: s.declared, Secret: func(ctx context.Context, root, reference, target string) (string, error) {
		return s.secret(ctx, root, reference, "notification target "+target)
	}, Tried: s.metrics.Notified}
	return d.Run(ctx)
}

// toldPeople says whether everybody could be told lately.
func (s *server) toldPeople(ctx context.Context) (string, error) {
	given, err := s.store.GivenUp(ctx, time.Now().AddDate(0, 0, -7))
	if err != nil {
		return "", err
	}
	if len(given) > 0 {
		last := given[0]
		return "", fmt.Errorf("%d given up within a week, last %s at %s: %s", len(given), last.Target, last.GaveUp.UTC().Format(time.RFC3339), last.LastError)
	}
	return "nothing given up within a week", nil
}
