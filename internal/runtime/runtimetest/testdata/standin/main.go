// Command standin is what the conformance suite runs in the place of Odoo and of the router: it
// listens where they listen and tells what it sees. It is started as /usr/bin/odoo and /waybill.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/filestore/gateway"
	"github.com/waybill-dev/waybill/internal/runtime/kube/results"
	"github.com/waybill-dev/waybill/internal/runtime/kube/shutin"
	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

const (
	configDir = "/etc/waybill"
	dataDir   = "/var/lib/odoo"
	outDir    = "/run/waybill/out"
)

// behaviour is standin.json: how the process shall misbehave.
type behaviour struct {
	Exit       map[string]int `json:"exit"`        // role → exit code, right away
	Deaf       bool           `json:"deaf"`        // never listens
	IgnoreTerm bool           `json:"ignore_term"` // as a worker that is busy
}

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case filepath.Base(args[0]) == "waybill" && len(args) == 6 && args[1] == "witness":
		return witness.Run(context.Background(), args[3], args[5]) // as the real one does
	case filepath.Base(args[0]) == "waybill" && len(args) == 6 && args[1] == "shut-in":
		return shutin.Check(context.Background(), args[3], []string{args[5]}) // as the real one does
	case filepath.Base(args[0]) == "waybill" && len(args) == 4 && args[1] == "results":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return results.Run(ctx, args[3], os.Stdout) // as the real one does
	case filepath.Base(args[0]) == "waybill" && len(args) == 8 && args[1] == "files":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return gateway.Run(ctx, args[3], args[5], args[7], slog.Default()) // as the real one does
	case filepath.Base(args[0]) == "waybill":
		return router(args[1:])
	case len(args) > 1 && args[1] == "job":
		return job(args[2:])
	}
	return odoo(args)
}

func odoo(args []string) error {
	role := os.Getenv("WAYBILL_ROLE")
	var b behaviour
	if content, err := os.ReadFile(filepath.Join(configDir, "standin.json")); err == nil {
		if err := json.Unmarshal(content, &b); err != nil {
			return err
		}
	}
	if code, ok := b.Exit[role]; ok {
		fmt.Fprintf(os.Stderr, "standin of role %s was told to end\n", role)
		os.Exit(code)
	}
	// Every start leaves one line, so that a test can tell a restart.
	starts, err := os.OpenFile(filepath.Join(dataDir, "starts-"+role), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintln(starts, time.Now().UTC().Format(time.RFC3339Nano))
	if err := starts.Close(); err != nil {
		return err
	}
	if b.IgnoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	port := ":8069"
	switch {
	case slices.Contains(args, "gevent"):
		port = ":8072"
	case slices.Contains(args, "--no-http"):
		port = ""
	}
	if port == "" || b.Deaf {
		return untilStopped(b.IgnoreTerm)
	}
	return serve(port, b.IgnoreTerm, pages(args))
}

// pages tell a test what the process sees.
func pages(args []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/web/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status": "pass"}`) })
	mux.HandleFunc("/config/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(configDir, filepath.Base(r.PathValue("name"))))
	})
	mux.HandleFunc("/data/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(dataDir, filepath.Base(r.PathValue("name"))))
	})
	mux.HandleFunc("/look", func(w http.ResponseWriter, _ *http.Request) {
		status, _ := os.ReadFile("/proc/self/status")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"args": args, "env": os.Environ(), "uid": os.Getuid(), "gid": os.Getgid(), "pid": os.Getpid(),
			"status":        string(status),
			"config_write":  writable(configDir),
			"data_write":    writable(dataDir),
			"tmp_write":     writable("/tmp"),
			"postgres_seen": exists("/run/waybill/pg"),
		})
	})
	mux.HandleFunc("/dial/{address}", func(w http.ResponseWriter, r *http.Request) { dial(w, r.PathValue("address")) })
	mux.HandleFunc("/orphan", orphan)
	mux.HandleFunc("/find/{name}", func(w http.ResponseWriter, r *http.Request) { find(w, r.PathValue("name")) })
	mux.HandleFunc("/files/{path...}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := files(r.Context(), r.FormValue("method"), "/"+r.PathValue("path"), r.FormValue("body"))
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprint(w, answer)
	})
	mux.HandleFunc("/ask", func(w http.ResponseWriter, r *http.Request) { ask(r.Context(), w, r.FormValue("url")) })
	return mux
}

// files asks the gateway to the filestores, as the bridge does, and tells its answer: status and content.
func files(ctx context.Context, method, path, body string) (string, error) {
	var config struct{ URL, Token string }
	content, err := os.ReadFile(filepath.Join(configDir, "files.json"))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, config.URL+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+config.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + string(answer)), err
}

// find tells each path at which the process sees a file of that name.
func find(w http.ResponseWriter, name string) {
	_ = filepath.WalkDir("/", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil: // what cannot be looked into cannot be read either
			return fs.SkipDir
		case path == "/proc" || path == "/sys":
			return fs.SkipDir
		case e.Name() == name:
			fmt.Fprintln(w, path)
		}
		return nil
	})
}

// ask answers with the status that an address has answered with, whoever that is.
func ask(ctx context.Context, w http.ResponseWriter, address string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = res.Body.Close()
	w.WriteHeader(res.StatusCode)
}

func dial(w http.ResponseWriter, address string) {
	conn, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	_ = conn.Close()
}

// orphan leaves a process behind whose parent has ended, and answers once somebody has reaped it.
func orphan(w http.ResponseWriter, _ *http.Request) {
	out, err := exec.Command("/usr/bin/odoo", "job", "leave").Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, pid, _ := strings.Cut(strings.TrimSpace(string(out)), "left ")
	for range 100 {
		if !exists("/proc/" + pid) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	http.Error(w, "nobody reaps process "+pid+":\n"+string(status), http.StatusInternalServerError)
}

func writable(dir string) bool {
	f, err := os.CreateTemp(dir, "standin-*")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func job(args []string) error {
	if len(args) == 0 {
		return errors.New("job: nothing to do")
	}
	fmt.Println("job begins:", args[0])
	switch args[0] {
	case "ok":
		content, err := os.ReadFile(filepath.Join(configDir, "job.json"))
		if err != nil {
			return err
		}
		// Links and folders must not be followed by whoever reads the results.
		if err := os.Symlink("/etc/hostname", filepath.Join(outDir, "link")); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(outDir, "folder"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(outDir, "role"), []byte(os.Getenv("WAYBILL_ROLE")), 0o600); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(outDir, "result.json"), content, 0o600)
	case "fail":
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "job fails as it was told")
		os.Exit(code)
	case "big":
		return os.WriteFile(filepath.Join(outDir, "big"), make([]byte, 3<<20), 0o600)
	case "chatter":
		for i := range 5000 {
			fmt.Println(i, strings.Repeat("x", 60))
		}
		return nil
	case "oom":
		debug.SetGCPercent(-1)
		var hoard [][]byte
		for {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = byte(i)
			}
			hoard = append(hoard, block)
			_ = hoard
		}
	case "until": // ends when the file appears in the data folder
		for !exists(filepath.Join(dataDir, args[1])) {
			time.Sleep(20 * time.Millisecond)
		}
		return os.WriteFile(filepath.Join(outDir, "result.json"), []byte("released"), 0o600)
	case "dial": // each address, and leaves those that answered; udp:ADDRESS gets one datagram, which proves nothing here
		var reached []string
		for _, address := range args[1:] {
			if to, ok := strings.CutPrefix(address, "udp:"); ok {
				if conn, err := net.Dial("udp", to); err == nil {
					_, _ = conn.Write([]byte("x"))
					_ = conn.Close()
				}
				continue
			}
			conn, err := net.DialTimeout("tcp", address, 2*time.Second)
			fmt.Println(address, err)
			if err == nil {
				_ = conn.Close()
				reached = append(reached, address)
			}
		}
		return os.WriteFile(filepath.Join(outDir, "result.json"), []byte(strings.Join(reached, " ")), 0o600)
	case "files": // METHOD PATH BODY for the gateway to the filestores, whose answer it leaves
		answer, err := files(context.Background(), args[1], args[2], args[3])
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(outDir, "result.json"), []byte(answer), 0o600)
	case "leave":
		child := exec.Command("/usr/bin/odoo", "job", "moment")
		if err := child.Start(); err != nil {
			return err
		}
		fmt.Println("left", child.Process.Pid)
	case "moment":
		time.Sleep(200 * time.Millisecond)
	case "hang":
		signal.Ignore(syscall.SIGTERM)
		for {
			time.Sleep(time.Hour)
		}
	}
	return nil
}

// router listens where `waybill router` does.
func router(args []string) error {
	flags := map[string]string{}
	for i := 1; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	if len(args) == 0 || args[0] != "router" {
		return fmt.Errorf("unknown verb %q", args)
	}
	_ = os.Remove(flags["--admin"])
	admin, err := net.Listen("unix", flags["--admin"])
	if err != nil {
		return err
	}
	defer admin.Close()
	mux := http.NewServeMux()
	started := time.Now().Format(time.RFC3339Nano)
	mux.HandleFunc("/started", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, started) })
	mux.HandleFunc("/dial/{address}", func(w http.ResponseWriter, r *http.Request) { dial(w, r.PathValue("address")) })
	mux.HandleFunc("/write/{dir...}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, writable("/"+r.PathValue("dir"))) })
	if at := flags["--https"]; at != "" {
		go func() {
			fmt.Fprintln(os.Stderr, http.ListenAndServeTLS(at, flags["--certificate"], flags["--key"], mux))
			os.Exit(1)
		}()
	}
	return serve(flags["--http"], false, mux)
}

func serve(at string, ignoreTerm bool, h http.Handler) error {
	s := &http.Server{Addr: at, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- s.ListenAndServe() }()
	stopped := make(chan error, 1)
	go func() { stopped <- untilStopped(ignoreTerm) }()
	select {
	case err := <-failed:
		return err
	case err := <-stopped:
		return errors.Join(err, s.Shutdown(context.Background()))
	}
}

func untilStopped(ignoreTerm bool) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT)
	if !ignoreTerm {
		signal.Notify(signals, syscall.SIGTERM)
	}
	<-signals
	if !exists(dataDir) {
		return nil // the router
	}
	return os.WriteFile(filepath.Join(dataDir, "graceful-"+os.Getenv("WAYBILL_ROLE")), []byte("yes"), 0o600)
}
