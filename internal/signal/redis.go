package signal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// FromRedis reads memory and evictions of a Redis server. Both pools share it, so it gives gauges.
// The client's own timeouts do not matter: ctx ends a look.
func FromRedis(server *redis.Client) Source { return &fromRedis{server} }

type fromRedis struct{ server *redis.Client }

func (f *fromRedis) Name() string { return "Redis" }

func (f *fromRedis) Read(ctx context.Context) (Reading, error) {
	text, err := f.server.Info(ctx, "memory", "stats").Result()
	if err != nil {
		return Reading{}, fmt.Errorf("ask %s for INFO: %w", f.server.Options().Addr, err)
	}
	said := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), ":")
		if n, err := strconv.ParseFloat(value, 64); found && err == nil {
			said[name] = n
		}
	}
	used, ok := said["used_memory"]
	if !ok {
		return Reading{}, errors.New("INFO says nothing of used_memory: is this Redis?")
	}
	r := Reading{Gauges: []Gauge{
		{"redis.memory", used, "bytes", ""},
		{"redis.evicted", said["evicted_keys"], "keys", "since the server started"},
	}}
	if limit := said["maxmemory"]; limit > 0 {
		r.Gauges = append(r.Gauges, Gauge{"redis.memory_used", used / limit, "share", "of maxmemory"})
	}
	return r, nil
}
