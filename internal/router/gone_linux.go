package router

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// TCP states of linux/include/net/tcp_states.h.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// peerGone tells whether the other side has closed its TCP connection, even when what it sent
// before has not been read yet.
func peerGone(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && (info.State == tcpClose || info.State == tcpCloseWait)
	})
	return err != nil || gone
}
