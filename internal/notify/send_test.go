package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

var sample = Message{
	Key: "rolled_back/x/7", Event: estate.EventRolledBack, Environment: "production", Tenant: "acme", Release: "r3", Promotion: "p1",
	Title: "production/acme: promote r3 was rolled back – Größe", Text: "shift: order_confirm failed on 4 of 60", Needed: "whoever made the release looks into it",
	At: time.Date(2026, 11, 24, 21, 5, 0, 0, time.UTC),
}

func operators(address string) estate.NotificationTarget {
	return estate.NotificationTarget{Name: "operators", URL: "env:X", From: "Waybill <waybill@example.com>", To: []string{address}}
}

// A mail arrives over STARTTLS after a login, and says what a person needs to know.
func TestMail(t *testing.T) {
	server := startMail(t, "127.0.0.1:0", false)
	address := "smtp://waybill:" + mailPassword + "@" + server.address
	for range 2 { // another try is the same mail
		require.NoError(t, Send(t.Context(), operators("ops@example.com"), address, sample))
	}
	first, second := server.next(t), server.next(t)
	require.Equal(t, "waybill@example.com", first.From)
	require.Equal(t, []string{"ops@example.com"}, first.To)
	m, err := mail.ReadMessage(strings.NewReader(first.Data))
	require.NoError(t, err)
	again, err := mail.ReadMessage(strings.NewReader(second.Data))
	require.NoError(t, err)
	require.Equal(t, m.Header.Get("Message-ID"), again.Header.Get("Message-ID"))
	require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, sample.Title, subject)
	body, err := io.ReadAll(m.Body)
	require.NoError(t, err)
	for _, part := range []string{"order_confirm failed on 4 of 60", "Needed: whoever made the release looks into it", "Promotion: p1", "At: 2026-11-24 21:05 UTC"} {
		require.Contains(t, string(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))), part)
	}
}

// What keeps a mail from arriving, whether another try may mend it, and that no secret is repeated.
func TestMailRefused(t *testing.T) {
	server, plain := startMail(t, "127.0.0.1:0", false), startMail(t, "127.0.0.1:0", true)
	for name, c := range map[string]struct {
		address, to, want string
		lasting           bool
	}{
		"wrong password":   {"smtp://waybill:wrong-" + mailPassword + "@" + server.address, "ops@example.com", "uth", false},
		"no STARTTLS":      {"smtp://waybill:" + mailPassword + "@" + plain.address, "ops@example.com", "STARTTLS", false},
		"no such mailbox":  {"smtp://waybill:" + mailPassword + "@" + server.address, "nobody@example.com", "no such mailbox", true},
		"nobody listens":   {"smtp://waybill:" + mailPassword + "@127.0.0.1:1", "ops@example.com", "refused", false},
		"plain far away":   {"smtp://mail.example.com?starttls=never", "ops@example.com", "on this machine alone", true},
		"another protocol": {"gopher://waybill:" + mailPassword + "@mail.example.com", "ops@example.com", "unknown kind of address", true},
		"no address":       {mailPassword, "ops@example.com", "env:X does not hold an address", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := Send(t.Context(), operators(c.to), c.address, sample)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), mailPassword)
			require.Equal(t, c.lasting, isPermanent(err), err)
		})
	}
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	err := Send(t.Context(), operators("ops@example.com"), "smtps://waybill:"+mailPassword+"@"+untrusted.Listener.Addr().String(), sample)
	require.ErrorContains(t, err, "certificate")
}

// A webhook gets the message as JSON, and is not led elsewhere.
func TestWebhook(t *testing.T) {
	var got Message
	var header http.Header
	answer := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		require.NoError(t, json.NewDecoder(r.Body).Decode(&got))
		if answer == http.StatusFound {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(answer)
	}))
	defer server.Close()
	address := strings.Replace(server.URL, "http://", "http://user:secret-word@", 1) + "/hooks/T0KEN-T0KEN?key=abcdefgh"
	target := estate.NotificationTarget{Name: "hook", URL: "file:x"}
	require.NoError(t, Send(t.Context(), target, address, sample))
	require.Equal(t, sample, got)
	require.Equal(t, sample.Key, header.Get("Idempotency-Key"))
	require.Contains(t, header.Get("Authorization"), "Basic ")
	for code, lasting := range map[int]bool{http.StatusServiceUnavailable: false, http.StatusUnauthorized: false, http.StatusFound: false, http.StatusGone: true} {
		answer = code
		err := Send(t.Context(), target, address, sample)
		require.ErrorContains(t, err, http.StatusText(code))
		require.Equal(t, lasting, isPermanent(err))
	}
	server.Close()
	err := Send(t.Context(), target, address, sample)
	require.ErrorContains(t, err, "refused")
	for _, secret := range []string{"secret-word", "T0KEN", "abcdefgh"} {
		require.NotContains(t, err.Error(), secret)
	}
}

// A chat is told through the library; here a server that speaks Mattermost's incoming webhooks.
func TestChat(t *testing.T) {
	var path, text string
	answer := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Text string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		path, text = r.URL.Path, in.Text
		w.WriteHeader(answer)
	}))
	defer server.Close()
	address := "mattermost://waybill@" + server.Listener.Addr().String() + "/t0kent0kent0ken?disabletls=yes"
	target := estate.NotificationTarget{Name: "chat", URL: "file:x"}
	require.NoError(t, Send(t.Context(), target, address, sample))
	require.Equal(t, "/hooks/t0kent0kent0ken", path)
	require.Contains(t, text, sample.Title)
	require.Contains(t, text, "Needed: whoever made the release looks into it")
	answer = http.StatusInternalServerError
	err := Send(t.Context(), target, address, sample)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "t0ken")
	require.False(t, isPermanent(err))
}

// A chat that never answers costs one goroutine, and ends with the caller's patience.
func TestChatThatHangs(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	address := "mattermost://waybill@" + server.Listener.Addr().String() + "/t0kent0kent0ken?disabletls=yes"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, Send(ctx, estate.NotificationTarget{Name: "chat"}, address, sample), "deadline")
	require.ErrorContains(t, Send(t.Context(), estate.NotificationTarget{Name: "chat"}, address, sample), "an earlier try still hangs")
}
