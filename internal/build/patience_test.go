package build

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// slowly passes one byte on after each pause, or ends with the request.
type slowly struct {
	io.Reader
	pause   time.Duration
	request *http.Request
}

func (s slowly) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
		return s.Reader.Read(p[:1])
	case <-s.request.Context().Done():
		return 0, s.request.Context().Err()
	}
}

// What moves may take as long as it likes; what does not move is ended: the way there, and back.
func TestPatience(t *testing.T) {
	const patience = time.Minute
	for name, c := range map[string]struct {
		there, back time.Duration
		ends        string
	}{
		"slow there, but it moves": {there: patience - time.Second},
		"slow back, but it moves":  {back: patience - time.Second},
		"nothing is taken":         {there: patience + time.Second, ends: "neither taken nor said anything for 1m0s"},
		"nothing is said any more": {back: patience + time.Second, ends: "neither taken nor said anything for 1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				registry := roundTrip(func(r *http.Request) (*http.Response, error) {
					if _, err := io.ReadAll(slowly{r.Body, c.there, r}); err != nil {
						return nil, err
					}
					return &http.Response{Body: io.NopCloser(slowly{strings.NewReader("thank you"), c.back, r})}, nil
				})
				request, err := http.NewRequestWithContext(t.Context(), "PUT", "http://registry/v2/acme/blobs/x", strings.NewReader("ten bytes."))
				require.NoError(t, err)
				start := time.Now()
				var got []byte
				response, err := (&patient{registry, patience}).RoundTrip(request)
				if err == nil {
					got, err = io.ReadAll(response.Body)
					require.NoError(t, response.Body.Close())
				}
				if c.ends != "" {
					require.ErrorContains(t, err, c.ends)
					require.Equal(t, patience, time.Since(start).Round(time.Second))
					return
				}
				require.NoError(t, err)
				require.Equal(t, "thank you", string(got))
				require.Greater(t, time.Since(start), 5*patience)
			})
		})
	}
}
