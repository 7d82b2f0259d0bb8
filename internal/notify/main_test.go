package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

var cluster = postgrestest.Shared(postgres.Options{})

// TestMain also makes this program a mail server and a dispatcher, in processes of their own: the one
// can be away and come back, the other can be killed.
func TestMain(m *testing.M) {
	switch os.Getenv("NOTIFY_TEST_ROLE") {
	case "smtp":
		serveMail()
	case "dispatcher":
		dispatch()
	default:
		dir, err := os.MkdirTemp("", "wbnotify")
		if err == nil {
			err = certificate(dir)
		}
		if err != nil {
			panic(err)
		}
		code := m.Run()
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}
}

// certificate makes one for 127.0.0.1, and lets this process and its children trust it.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert, private := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), 0o600),
		os.Setenv("SSL_CERT_FILE", cert), os.Setenv("NOTIFY_TEST_CERT", cert), os.Setenv("NOTIFY_TEST_KEY", private))
}

// delivered is a mail as the server took it.
type delivered struct {
	From string
	To   []string
	Data string
}

// mailServer is a process that speaks SMTP with STARTTLS and AUTH. It tells its mails as lines of JSON.
type mailServer struct {
	address string
	mails   *json.Decoder
}

func startMail(t *testing.T, address string, plain bool) mailServer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NOTIFY_TEST_ROLE=smtp", "NOTIFY_TEST_LISTEN="+address, fmt.Sprintf("NOTIFY_TEST_PLAIN=%v", plain))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s := mailServer{mails: json.NewDecoder(out)}
	require.NoError(t, s.mails.Decode(&s.address))
	return s
}

// next waits for a mail.
func (s mailServer) next(t *testing.T) delivered {
	t.Helper()
	var d delivered
	require.NoError(t, s.mails.Decode(&d))
	return d
}

const mailPassword = "hunter2hunter2"

func serveMail() {
	s := smtp.NewServer(mailBackend{})
	s.Domain, s.ReadTimeout, s.WriteTimeout, s.MaxMessageBytes = "mail.example", 10*time.Second, 10*time.Second, 1<<20
	if os.Getenv("NOTIFY_TEST_PLAIN") != "true" {
		pair, err := tls.LoadX509KeyPair(os.Getenv("NOTIFY_TEST_CERT"), os.Getenv("NOTIFY_TEST_KEY"))
		if err != nil {
			panic(err)
		}
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	listener, err := net.Listen("tcp", os.Getenv("NOTIFY_TEST_LISTEN"))
	if err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(listener.Addr().String())
	panic(s.Serve(listener))
}

type mailBackend struct{}

func (mailBackend) NewSession(c *smtp.Conn) (smtp.Session, error) { return &mailSession{conn: c}, nil }

type mailSession struct {
	conn *smtp.Conn
	user string
	got  delivered
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "waybill" || password != mailPassword {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	if _, encrypted := s.conn.TLSConnectionState(); !encrypted || s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.got.From = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	s.got.To = append(s.got.To, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.got.Data = string(content)
	return json.NewEncoder(os.Stdout).Encode(s.got)
}

func (s *mailSession) Reset()        { s.got = delivered{} }
func (s *mailSession) Logout() error { return nil }
