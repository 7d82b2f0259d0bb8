package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/wneessen/go-mail"

	"github.com/waybill-dev/waybill/internal/estate"
)

// mailTo sends mail through the server at smtp://user:password@host:port (STARTTLS demanded) or
// smtps:// (TLS from the first byte). "?starttls=never" is for a server on this machine alone.
func mailTo(ctx context.Context, t estate.NotificationTarget, u *url.URL, m Message) error {
	if len(t.To) == 0 {
		return permanent{errors.New("mail needs from and to in the estate")}
	}
	client, err := mailClient(u)
	if err != nil {
		return permanent{err}
	}
	msg := mail.NewMsg()
	if err := msg.From(t.From); err != nil {
		return permanent{fmt.Errorf("the sender: %w", err)}
	}
	if err := msg.To(t.To...); err != nil {
		return permanent{fmt.Errorf("the receivers: %w", err)}
	}
	msg.Subject(m.Title)
	msg.SetDateWithValue(m.At)
	sum := sha256.Sum256([]byte(t.Name + "\x00" + m.Key)) // the same for another try: mail programs show it once
	msg.SetMessageIDWithValue(hex.EncodeToString(sum[:16]) + "@waybill")
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	msg.SetUserAgent("Waybill")
	msg.SetBodyString(mail.TypeTextPlain, m.Body())
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		var sent *mail.SendError
		if errors.As(err, &sent) && !sent.IsTemp() && sent.ErrorCode() >= 500 && sent.ErrorCode() != 530 {
			return permanent{err}
		}
		return err
	}
	return nil
}

func mailClient(u *url.URL) (*mail.Client, error) {
	host := u.Hostname()
	options := []mail.Option{mail.WithTimeout(sendLimit / 2), mail.WithTLSConfig(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})}
	switch {
	case u.Scheme == "smtps":
		options = append(options, mail.WithSSLPort(false))
	case u.Query().Get("starttls") == "never":
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, errors.New("starttls=never is for a mail server on this machine alone")
		}
		options = append(options, mail.WithTLSPolicy(mail.NoTLS), mail.WithPort(25))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithPort(587))
	}
	if port := u.Port(); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("port %q is no number", port)
		}
		options = append(options, mail.WithPort(n))
	}
	if u.User.Username() != "" {
		password, _ := u.User.Password()
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	return mail.NewClient(host, options...)
}
