package router

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// fault is an error as the admin socket sends it.
type fault struct {
	Kind       string   `json:"kind"` // table, stale, unknown_tenant, input, other
	Error      string   `json:"error"`
	Problems   []string `json:"problems,omitempty"`
	Generation int64    `json:"generation,omitempty"`
	InForce    int64    `json:"in_force,omitempty"`
}

type drainRequest struct {
	Tenant string  `json:"tenant"`
	Limit  float64 `json:"limit_seconds"`
}

type drainResponse struct {
	Cut int `json:"cut"`
}

type closeRequest struct {
	Tenant string `json:"tenant"`
	Keep   string `json:"keep"`
}

const maxDrain = time.Hour

// adminHandler offers a Control over HTTP.
func adminHandler(c Control) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /table", func(w http.ResponseWriter, r *http.Request) {
		var table Table
		if decode(w, r, &table) {
			reply(w, struct{}{}, c.Apply(r.Context(), table))
		}
	})
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		var in drainRequest
		if decode(w, r, &in) {
			limit := min(max(time.Duration(in.Limit*float64(time.Second)), 0), maxDrain)
			cut, err := c.Drain(r.Context(), in.Tenant, limit)
			reply(w, drainResponse{cut}, err)
		}
	})
	mux.HandleFunc("POST /close-websockets", func(w http.ResponseWriter, r *http.Request) {
		var in closeRequest
		if decode(w, r, &in) {
			reply(w, struct{}{}, c.CloseWebsockets(r.Context(), in.Tenant, in.Keep))
		}
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		stats, err := c.Stats(r.Context())
		reply(w, stats, err)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		stats, err := c.Stats(r.Context())
		reply(w, map[string]any{"status": "ok", "generation": stats.Generation}, err)
	})
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTableSize)).Decode(into)
	if err != nil {
		send(w, http.StatusBadRequest, fault{Kind: "input", Error: "the router cannot read the request: " + err.Error()})
	}
	return err == nil
}

func reply(w http.ResponseWriter, value any, err error) {
	if err == nil {
		send(w, http.StatusOK, value)
		return
	}
	f, status := fault{Kind: "other", Error: err.Error()}, http.StatusInternalServerError
	var wrong *TableError
	var stale *StaleError
	switch {
	case errors.As(err, &wrong):
		f.Kind, f.Problems, f.Generation, status = "table", wrong.Problems, wrong.Generation, http.StatusUnprocessableEntity
	case errors.As(err, &stale):
		f.Kind, f.Generation, f.InForce, status = "stale", stale.Generation, stale.InForce, http.StatusConflict
	case errors.Is(err, ErrUnknownTenant):
		f.Kind, status = "unknown_tenant", http.StatusNotFound
	}
	send(w, status, f)
}

func send(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the caller is gone, and will ask again
}
