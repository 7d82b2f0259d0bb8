package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// hooks follows no redirect: the address is what the estate says, and a POST that was redirected is lost.
var hooks = &http.Client{
	Timeout:       sendLimit,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// webhook posts the message as JSON. User and password in the address are sent as basic authentication.
func webhook(ctx context.Context, u *url.URL, m Message) error {
	content, err := json.Marshal(m)
	if err != nil {
		return permanent{err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(content))
	if err != nil {
		return permanent{err}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Waybill")
	request.Header.Set("Idempotency-Key", m.Key)
	response, err := hooks.Do(request)
	if err != nil {
		var failed *url.Error // it repeats the address
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	switch code := response.StatusCode; {
	case code < 300:
		return nil
	case code == http.StatusGone, code == http.StatusMethodNotAllowed:
		return permanent{fmt.Errorf("it answers %s", response.Status)}
	default: // also other 4xx: a token may be mended within the day
		return fmt.Errorf("it answers %s", response.Status)
	}
}
