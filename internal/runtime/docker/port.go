package docker

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// binding turns an address to listen on, host:port, into the engine's terms.
func binding(ctx context.Context, address string) (network.PortBinding, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return network.PortBinding{}, fmt.Errorf("address to listen on %q: expected host:port, for example 127.0.0.1:8069: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return network.PortBinding{}, fmt.Errorf("address to listen on %q: expected a port from 1 to 65535", address)
	}
	b := network.PortBinding{HostPort: port}
	if host == "" {
		return b, nil
	}
	if b.HostIP, err = netip.ParseAddr(host); err == nil {
		return b, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(found) == 0 {
		return network.PortBinding{}, fmt.Errorf("address to listen on %q: the host is no address and does not resolve to one: %w", address, err)
	}
	b.HostIP = found[0].Unmap()
	return b, nil
}

// portFault names the port that is in use and, as far as can be seen, by whom.
func (r *Runtime) portFault(ctx context.Context, err error, name string, ports network.PortMap) error {
	var all, owners []string
	for _, bindings := range ports {
		for _, b := range bindings {
			n, perr := strconv.ParseUint(b.HostPort, 10, 16)
			if perr != nil {
				continue
			}
			at := b.HostPort
			if b.HostIP.IsValid() {
				at = netip.AddrPortFrom(b.HostIP, uint16(n)).String()
			}
			all = append(all, at)
			if owner := r.portOwner(ctx, uint16(n)); owner != "" {
				owners = append(owners, "port "+b.HostPort+" is used by "+owner)
			}
		}
	}
	slices.Sort(all)
	who := "find out by whom with: ss -ltnp"
	if len(owners) > 0 {
		who = strings.Join(owners, ", ")
	}
	return fmt.Errorf("start container %s: address %s is in use: %s; stop that or choose another address for this environment: %w", name, strings.Join(all, " or "), who, err)
}

// portOwner finds the container or the process that listens on a port; empty when it cannot.
func (r *Runtime) portOwner(ctx context.Context, port uint16) string {
	if res, err := r.api.ContainerList(ctx, client.ContainerListOptions{}); err == nil {
		for _, c := range res.Items {
			for _, p := range c.Ports {
				if p.PublicPort == port && len(c.Names) > 0 {
					return "container " + strings.TrimPrefix(c.Names[0], "/")
				}
			}
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode, err := listenerInode(table, port); err == nil && inode != "" {
			return socketOwner(inode)
		}
	}
	return ""
}

// listenerInode finds in a table of the kernel (proc(5), /proc/net/tcp) the socket that listens on port.
func listenerInode(table string, port uint16) (string, error) {
	f, err := os.Open(table)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const listening = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[3] == listening && strings.HasSuffix(fields[1], suffix) {
			return fields[9], nil
		}
	}
	return "", lines.Err()
}

// socketOwner finds the process that holds a socket. Without root only one's own are seen.
func socketOwner(inode string) string {
	want := "socket:[" + inode + "]"
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	for _, proc := range procs {
		fds, err := os.ReadDir(filepath.Join(proc, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if link, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && link == want {
				comm, _ := os.ReadFile(filepath.Join(proc, "comm"))
				return fmt.Sprintf("process %s (%s)", filepath.Base(proc), strings.TrimSpace(string(comm)))
			}
		}
	}
	return ""
}
