package router

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate serves a key pair from files and reads them again when they have changed.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]fileMark
	checked time.Time
}

type fileMark struct {
	modified time.Time
	size     int64
}

const certificateCheck = time.Second

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w; give a PEM certificate chain and its private key", certFile, keyFile, err)
	}
	return c, nil
}

func (c *certificate) marks() (m [2]fileMark, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return m, err
		}
		m[i] = fileMark{info.ModTime(), info.Size()}
	}
	return m, nil
}

func (c *certificate) load() error {
	marks, err := c.marks()
	if err != nil {
		return err
	}
	if c.pair != nil && marks == c.seen {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	renewed := c.pair != nil
	c.pair, c.seen = &pair, marks
	if renewed {
		c.log.Info("TLS certificate read again", "file", c.certFile)
	}
	return nil
}

// get implements tls.Config.GetCertificate. The old pair serves on while the new one is not whole,
// as between the writing of its two files.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) >= certificateCheck {
		c.checked = time.Now()
		if err := c.load(); err != nil {
			c.log.Warn("TLS certificate cannot be read again; the one before serves on", "file", c.certFile, "error", err)
		}
	}
	return c.pair, nil
}
