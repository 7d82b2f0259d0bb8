// Package certificate has the certificate that a listener shows: a key pair in two files, which others renew, and clients that are to
// trust this one and no other.
package certificate

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files serve a key pair from files and read them again when they have changed.
type Files struct {
	certFile, keyFile string
	log               *slog.Logger
	renewed           func(*tls.Certificate) // nil: nobody asks

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]fileMark
	checked time.Time
	warned  *tls.Certificate // whose time is over, as was said
}

type fileMark struct {
	modified time.Time
	size     int64
}

// checkEvery is how often handshakes look at the files, at most.
const checkEvery = time.Second

// Load reads a PEM chain and its private key. One whose time is over, or has not come, is served all the same, with a warning: clients
// say what is wrong with it, and it may be renewed in place. renewed, if any, is told of each pair that was read again, before anybody
// is shown it.
func Load(certFile, keyFile string, log *slog.Logger, renewed func(*tls.Certificate)) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, log: log, renewed: renewed}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w; give a PEM certificate chain and its private key", certFile, keyFile, err)
	}
	f.warn(time.Now())
	return f, nil
}

func (f *Files) marks() (m [2]fileMark, err error) {
	for i, name := range []string{f.certFile, f.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return m, err
		}
		m[i] = fileMark{info.ModTime(), info.Size()}
	}
	return m, nil
}

func (f *Files) load() error {
	marks, err := f.marks()
	if err != nil {
		return err
	}
	if f.pair != nil && marks == f.seen {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return err
	}
	if f.pair != nil {
		if f.renewed != nil {
			f.renewed(&pair)
		}
		f.log.Info("TLS certificate read again", "file", f.certFile, "until", pair.Leaf.NotAfter)
	}
	f.pair, f.seen = &pair, marks
	return nil
}

// warn says once of each pair that its time is not now.
func (f *Files) warn(now time.Time) {
	if f.warned == f.pair {
		return
	}
	if problem := Problem(f.pair, now); problem != nil {
		f.warned = f.pair
		f.log.Warn("TLS certificate does not count with clients", "file", f.certFile, "why", problem)
	}
}

// Problem says why clients do not take a pair at a time; nil where it is in its time.
func Problem(pair *tls.Certificate, now time.Time) error {
	switch leaf := pair.Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("it has expired at %s: renew it in its files, which are read again by themselves", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it holds from %s on: look at this machine's clock, or at who has made it", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Get implements tls.Config.GetCertificate. The old pair serves on while the new one is not whole,
// as between the writing of its two files.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.Current(), nil
}

// Current is the pair that is shown now.
func (f *Files) Current() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.checked) >= checkEvery {
		f.checked = now
		if err := f.load(); err != nil {
			f.log.Warn("TLS certificate cannot be read again; the one before serves on", "file", f.certFile, "error", err)
		}
		f.warn(now)
	}
	return f.pair
}

// Server is what a listener needs that shows the pair: TLS 1.2 and later, with HTTP/2.
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: f.Get,
		// Said here, because http.Server.Serve, when it comes before ServeTLS, leaves HTTP/2 out otherwise.
		NextProtos: []string{"h2", "http/1.1"},
	}
}
