// Package server puts the rooms together: it starts what is embedded, or connects to what is given
// by URL, and serves API and registry on one port. `waybill up` and `waybill serve` differ only in
// where PostgreSQL, registry and bucket come from; everything beneath is the same.
package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/certificate"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/console"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/gitops"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/openid"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/proxies"
	"github.com/waybill-dev/waybill/internal/registry"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/telemetry"
)

// Config says where things are. An empty URL means: embedded, in the data folder.
type Config struct {
	Data   string // folder; keys, and everything that is embedded
	Estate string // folder with the declared state
	Listen string // host:port of API and registry

	TLSCert, TLSKey string   // PEM files: Listen speaks TLS; empty: it does not
	TrustedProxies  []string // networks of the proxies before this server, which may say who the client is and whether it has come by TLS

	Metrics string // host:port where anybody may read metrics; empty: only through the API, with a token

	DatabaseURL string // Waybill's own state
	Registry    string // host[:port]/prefix of an OCI registry
	Bucket      string // checkpoints; any gocloud.dev/blob URL
	Kube        *Kube  // pools run on Kubernetes; nil: on this machine's Docker Engine

	PublicURL string          // where people reach this server, as their browsers write it; empty: not known
	OpenID    openid.Settings // with an Issuer: people log in there

	IsolationLook time.Duration // how often it is looked whether a probe of isolation is due; 0: every 30 s
	RescanEvery   time.Duration // how often the vulnerability databases are looked at; 0: every minute

	Version string
	Log     *slog.Logger
	Ready   func(url string)   // called once the server answers
	Fault   func(point string) // see promotion.New
}

// ErrAlreadyUp is returned when another server works on the same data folder.
var ErrAlreadyUp = errors.New("a Waybill server is up on this data folder already")

// Address is what a client needs to find a server that was started on a data folder.
type Address struct {
	URL         string `json:"url"`
	PID         int    `json:"pid"`
	Certificate []byte `json:"certificate,omitempty"` // that it shows, as DER; none: it does not speak TLS
}

// AddressFile is the name of the file, in the data folder, that holds an Address.
const AddressFile = "server.json"

// stopLimit is how long a stop may take before it is cut short.
const stopLimit = 30 * time.Second

type server struct {
	config   Config
	log      *slog.Logger
	instance string
	keys     *keys.Keys
	store    *store.Store
	bucket   *checkpoint.Store
	book     *ledger.Ledger
	state    *postgres.Cluster // nil where given by URL
	tenants  *postgres.Cluster // nil where every environment names its own server

	needsTenantsServer bool
	folder             estate.Reader
	follower           *gitops.Follower // nil: the estate is the folder
	approving          *approval.Room   // once there is an engine

	runtime       engineRoom
	engineName    string // as doctor calls it
	engineFix     string // what to do when it does not answer
	engineVersion func(context.Context) (string, error)

	address  string             // host:port, by which this machine reaches it
	shown    *certificate.Files // nil: without TLS
	itself   http.RoundTripper  // to its own port; nil: as any
	proxies  proxies.Networks
	registry string // where images are pushed and pulled

	neighbours neighbours
	events     *api.Events // once it serves

	metrics *telemetry.Metrics
	watch   *telemetry.Watch

	announcing sync.Mutex
	announced  bool             // whoever asks on this machine is told where the server is
	newest     *tls.Certificate // that they are told of; nil: without TLS

	mu        sync.Mutex
	databases map[string]*database.Server // by admin URL
	runtimes  map[string]runtime.Runtime  // by environment, once it was looked up

	engine *promotion.Engine           // once it serves
	begin  func(func(context.Context)) // what nobody waits for, and ends with the server

	rescanning sync.Mutex // one comparison of the running releases at a time
	reads      secretReads
}

// Run serves until ctx is done, and then stops gracefully: steps under way give their leases back,
// pools and routers go on serving, embedded databases of tenants too.
func Run(ctx context.Context, c Config) (err error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return err
	}
	if c.Estate, err = filepath.Abs(c.Estate); err != nil {
		return err
	}
	declared, err := estate.Load(ctx, c.Estate)
	if err != nil {
		return fmt.Errorf("read the estate in %s: %w", c.Estate, err)
	}
	if _, err := gate.Compile(declared.Policies); err != nil {
		return fmt.Errorf("read the estate in %s: %w", c.Estate, err)
	}
	if err := os.MkdirAll(c.Data, 0o711); err != nil {
		return err
	}
	if err := letThrough(c.Data); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(c.Data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the data folder %s: %w", c.Data, err)
	}
	if !locked {
		return fmt.Errorf("%w: %s%s. Stop it first, or give this one another --data", ErrAlreadyUp, c.Data, whoServes(c.Data))
	}
	defer func() { _ = lock.Unlock() }()

	s := &server{config: c, log: c.Log, databases: map[string]*database.Server{}, runtimes: map[string]runtime.Runtime{}}
	if s.proxies, err = proxies.Parse(c.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if err := s.showCertificate(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w. Something else uses this port; give another with --listen", c.Listen, err)
	}
	s.address = near(listener.Addr())
	s.itself = s.wayToItself()
	if c.Kube != nil {
		if err := podsReach(declared, c.Kube.Filestores == ""); err != nil {
			_ = listener.Close()
			return err
		}
	}
	for _, env := range declared.Environments {
		s.needsTenantsServer = s.needsTenantsServer || env.Database.URL == ""
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx); err != nil {
		_ = listener.Close()
		return err
	}
	if s.follower, err = s.follow(ctx, declared.Repository); err == nil {
		err = s.firstCommit(ctx)
	}
	if err != nil {
		_ = listener.Close()
		return err
	}
	return s.serve(ctx, listener)
}

// letThrough opens the data folder just as far as the databases' unprivileged user must get through. A volume that was mounted there is
// somebody else's, who has opened it.
func letThrough(data string) error {
	err := os.Chmod(data, 0o711)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	info, statErr := os.Stat(data)
	if statErr != nil {
		return statErr
	}
	if info.Mode()&0o111 != 0o111 {
		return err
	}
	return nil
}

func whoServes(data string) string {
	var a Address
	content, err := os.ReadFile(filepath.Join(data, AddressFile))
	if err != nil || json.Unmarshal(content, &a) != nil {
		return ""
	}
	return fmt.Sprintf(" (%s, process %d)", a.URL, a.PID)
}

// serve runs engine and HTTP side by side until one of them fails or ctx is done.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	rehearsals := s.rehearsals()
	rooms := s.rooms()
	rooms.Rehearsals = rehearsals
	if s.follower != nil {
		rooms.Ended = s.follower.Wake
	}
	s.book = s.newLedger()
	if err := s.recordStart(ctx); err != nil {
		_ = listener.Close()
		return err
	}
	holder := s.instance + "-" + randomHex(4)
	scraped, err := s.telemetry(ctx, holder)
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer s.stopTelemetry(ctx)
	rooms.Watch = s.watch
	engine, err := promotion.New(rooms, holder, s.log, s.config.Fault)
	if err != nil {
		_ = listener.Close()
		return err
	}
	s.engine = engine
	rehearsals.Ended = func(ctx context.Context, environment, tenant, outcome string, took time.Duration) {
		s.metrics.Rehearsed(environment, outcome, took)
		s.happened(ctx, promotion.RehearsalTopic(environment, tenant))
	}
	s.approving = s.approvals(engine)
	s.events = api.NewEvents(s.store, s.log)
	handler, err := s.handler(engine, rehearsals)
	if err != nil {
		_ = listener.Close()
		return err
	}
	httpServer := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	group, ctx := errgroup.WithContext(ctx)
	s.begin = func(f func(context.Context)) {
		group.Go(func() error {
			f(ctx)
			return nil
		})
	}
	group.Go(func() error {
		if err := s.listen(httpServer, listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	converged := make(chan struct{})
	group.Go(func() error {
		s.converge(ctx, engine)
		close(converged)
		return engine.Run(ctx)
	})
	group.Go(func() error { return rehearsals.Run(ctx) })
	group.Go(func() error { return s.watchVulnerabilities(ctx) })
	if s.follower != nil {
		group.Go(func() error { return s.follower.Run(ctx) })
	}
	group.Go(func() error { return s.book.Run(ctx) })
	group.Go(func() error { return s.tellPeople(ctx) })
	group.Go(func() error { return s.watchCalendars(ctx, s.happened) })
	group.Go(func() error { return s.countHours(ctx, engine) })
	group.Go(func() error { return s.watchIsolation(ctx) })
	group.Go(func() error { return s.watchDrift(ctx, converged) })
	group.Go(func() error { return s.watchScale(ctx, converged) })
	group.Go(func() error { return s.watchLimits(ctx) })
	group.Go(func() error { return s.watchNeighbours(ctx) })
	group.Go(func() error { return s.events.Keep(ctx) })
	group.Go(func() error { return s.warnOfBaselines(ctx) })
	group.Go(func() error { return s.serveMetrics(ctx, scraped) })
	group.Go(func() error {
		<-ctx.Done()
		s.events.Close()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		return httpServer.Shutdown(stop)
	})
	if err := s.announce(); err != nil {
		return err
	}
	defer s.withdraw()
	if s.config.Ready != nil {
		s.config.Ready(s.url())
	}
	return group.Wait()
}

// converge tells routers and pools again what was decided, in case the server died in between.
// An engine that is away now does not keep the server from starting.
func (s *server) converge(ctx context.Context, engine *promotion.Engine) {
	names, err := s.store.Environments(ctx)
	if err != nil {
		s.log.Error("look up the environments", "error", err)
		return
	}
	declared, err := s.declared(ctx)
	if err != nil {
		s.log.Error("read the estate", "error", err)
		return
	}
	for _, name := range names {
		env, ok := declared.Environment(name)
		if !ok {
			continue
		}
		place, err := s.place(ctx, env)
		if err == nil {
			err = place.Runtime.EnsureEnvironment(ctx, promotion.RuntimeEnvironment(promotion.Snapshot{Environment: env, Root: declared.Root}))
		}
		if err == nil {
			err = engine.Converge(ctx, place, name)
		}
		if err != nil {
			s.log.Warn("bring the environment to what was decided", "environment", name, "error", err)
		}
	}
}

func (s *server) handler(engine *promotion.Engine, rehearsals *rehearsal.Queue) (http.Handler, error) {
	public, err := publicURL(s.config.PublicURL)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	served := api.Handler(api.Backend{
		Store: s.store, Engine: engine, Checkpoints: s.bucket, Rehearsals: rehearsals, Version: s.config.Version,
		Token: s.keys.Token(), Owner: owner(), Tokens: s.tokens(), Sessions: s.sessions(), Passwords: s.passwords(), OpenID: s.openID(public), PublicURL: public, Recorder: s.recorder(), Approvals: s.approving, Ledger: s.book, Waybill: s.cutWaybill, SignImpact: s.signImpact, Evidence: s.releaseEvidence, SBOM: s.releaseSBOM,
		Estate: s.declared, Git: s.git(engine),
		ReadRelease:    s.readRelease,
		Doctor:         s.doctor,
		VerifyLedger:   s.verifyLedger,
		Runbook:        s.runbook,
		Rescan:         func(ctx context.Context) error { return s.rescan(ctx, true) },
		CheckIsolation: s.checkIsolation, Neighbours: s.neighbours.of, Events: s.events,
		Metrics: s.metrics.Handler(), Counter: s.metrics,
	})
	mux.Handle("/api/", served)
	mux.Handle("/metrics", served)
	if s.follower != nil && s.follower.Hook != nil {
		mux.Handle("POST /hooks/estate", s.follower.Webhook())
	}
	// Of the process alone: it is no cure for a database that is away to start servers anew.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.store.Pool.Ping(r.Context()); err != nil {
			http.Error(w, "Waybill's own database does not answer", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	if s.config.Registry == "" {
		images, err := registry.Handler(filepath.Join(s.config.Data, "registry"), s.mayPush)
		if err != nil {
			return nil, err
		}
		mux.Handle("/v2/", images)
	} else {
		mux.Handle("/v2/", http.NotFoundHandler()) // else the console would answer, and a client take that for a registry
	}
	pages, err := console.Handler()
	if err != nil {
		return nil, err
	}
	mux.Handle("/", pages)
	return s.proxies.Handler(secured(mux)), nil
}

// instanceID tells this data folder's containers from those of others on the same engine.
func instanceID(data string) (string, error) {
	path := filepath.Join(data, "instance")
	if content, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(content)), nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := randomHex(3)
	return id, os.WriteFile(path, []byte(id+"\n"), 0o644)
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
