package api

import (
	"context"
	"encoding/json"

	"github.com/waybill-dev/waybill/internal/promotion"
)

// verdicts are those on rollouts, where they are wanted: their evidence is long.
func (b Backend) verdicts(ctx context.Context, wanted bool, rollouts []string) (map[string][]promotion.Verdict, error) {
	if !wanted {
		return nil, nil
	}
	rows, err := b.Store.Verdicts(ctx, rollouts...)
	if err != nil {
		return nil, err
	}
	of := map[string][]promotion.Verdict{}
	for _, row := range rows {
		var v promotion.Verdict
		if err := json.Unmarshal(row.Evidence, &v); err != nil {
			return nil, err
		}
		of[row.RolloutID] = append(of[row.RolloutID], v)
	}
	return of, nil
}
