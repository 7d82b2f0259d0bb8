package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/server"
)

// tokenVariable holds a user's token where no --token-file is given. A token is never an argument: others could read it there.
const tokenVariable = "WAYBILL_TOKEN"

// token is what to show to the server: a user's own, or that of the data folder.
func (a *app) token() (string, error) {
	if a.tokenFile != "" {
		content, err := os.ReadFile(a.tokenFile)
		if err != nil {
			return "", usagef("read the token: %w", err)
		}
		token := strings.TrimSpace(string(content))
		if token == "" || strings.ContainsAny(token, " \n") {
			return "", usagef("%s holds no token: one line expected, as waybill token create wrote it", a.tokenFile)
		}
		return token, nil
	}
	if token := strings.TrimSpace(os.Getenv(tokenVariable)); token != "" {
		return token, nil
	}
	content, err := os.ReadFile(filepath.Join(a.data, "keys", "token"))
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("the token of the data folder %s is its owner's (%w). Show your own: --token-file FILE, or %s", a.data, err, tokenVariable)
	}
	if err != nil {
		return "", fmt.Errorf("no token in the data folder %s (%w). Start a server there: waybill up --data %s; or name another folder with --data, or your own token with --token-file", a.data, err, a.data)
	}
	return strings.TrimSpace(string(content)), nil
}

// address finds the server and the token that it wants.
func (a *app) address() (url, token string, err error) {
	if token, err = a.token(); err != nil {
		return "", "", err
	}
	if a.server != "" {
		return strings.TrimSuffix(a.server, "/"), token, nil
	}
	found, err := a.found()
	if err != nil {
		return "", "", fmt.Errorf("no server is up on %s. Start it: waybill up --data %s --estate FOLDER", a.data, a.data)
	}
	return found.URL, token, nil
}

// found is the server that runs on the data folder.
func (a *app) found() (at server.Address, err error) {
	content, err := os.ReadFile(filepath.Join(a.data, server.AddressFile))
	if err == nil {
		err = json.Unmarshal(content, &at)
	}
	return at, err
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

// call asks the API. in and out may be nil.
func (a *app) call(ctx context.Context, method, path string, in, out any) error {
	_, err := a.ask(ctx, method, path, in, out)
	return err
}

// whole reads all parts of a list.
func whole[T any](ctx context.Context, a *app, path string) (all []T, err error) {
	all = []T{}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	for next := path; ; {
		var part []T
		header, err := a.ask(ctx, http.MethodGet, next, nil, &part)
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		cursor := header.Get("Next-Cursor")
		if cursor == "" {
			return all, nil
		}
		next = path + separator + "cursor=" + url.QueryEscape(cursor)
	}
}

// ask is call, with the answer's header.
func (a *app) ask(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	server, token, err := a.address()
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, server+path, body)
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet { // a proxy in between may send it twice
		request.Header.Set("Idempotency-Key", rand.Text())
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	way, err := a.way()
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 2 * time.Minute, Transport: way}
	response, err := client.Do(request)
	if err != nil {
		if why := untrusted(server, err); why != nil {
			return nil, why
		}
		return nil, &unreachable{server, err}
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, &unreachable{server, err}
	}
	if response.StatusCode >= 300 {
		return nil, refused(response.StatusCode, content)
	}
	if out == nil {
		return response.Header, nil
	}
	return response.Header, json.Unmarshal(content, out)
}

// unreachable says that no server answered.
type unreachable struct {
	url string
	err error
}

func (u *unreachable) Error() string {
	return fmt.Sprintf("the server at %s does not answer: %v", u.url, u.err)
}
func (u *unreachable) Unwrap() error { return u.err }

// refused reads a problem+json answer. What the caller asked for wrongly is a usage error.
func refused(status int, content []byte) error {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	if json.Unmarshal(content, &p) != nil || p.Title == "" {
		return fmt.Errorf("the server answered %d: %.200s", status, content)
	}
	text := p.Detail
	for _, e := range p.Errors {
		text += "; " + strings.TrimSpace(e.Location+" "+e.Message)
	}
	err := errors.New(text)
	if status == http.StatusUnprocessableEntity || status == http.StatusNotFound || status == http.StatusBadRequest {
		return usage{err}
	}
	return err
}
