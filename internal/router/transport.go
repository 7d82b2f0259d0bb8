package router

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// newTransport sends each request over the connection that was dialled for it. None is kept: Odoo
// answers in HTTP/1.0 and closes (a worker must not wait for an idle connection), and a POST that
// meets the end of a kept connection could not be sent again.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			f, ok := ctx.Value(flightKey{}).(*flight)
			if !ok || !f.dialled.CompareAndSwap(false, true) {
				return nil, errors.New("a request has one connection only")
			}
			return f.conn, nil
		},
		DisableKeepAlives:      true,
		Protocols:              protocols,
		DisableCompression:     true, // bytes pass as they are
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
}
