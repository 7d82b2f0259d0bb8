package server

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/forge"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/gitops"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/runtime/kube"
)

// declared is the declared state: that of the folder, or of the commit in force where the estate is kept in Git.
func (s *server) declared(ctx context.Context) (*estate.Estate, error) {
	if s.follower == nil {
		return s.folder.Load(ctx, s.config.Estate)
	}
	return s.follower.Declared(ctx)
}

// access is who may do what, by the declared state.
func (s *server) access(ctx context.Context) (*estate.Access, error) {
	if s.follower == nil {
		return s.folder.Access(ctx, s.config.Estate)
	}
	declared, err := s.follower.Declared(ctx)
	if err != nil {
		return nil, err
	}
	return &declared.Access, nil
}

// follow opens the repository that the folder's estate names; nil where it names none.
func (s *server) follow(ctx context.Context, r *estate.Repository) (*gitops.Follower, error) {
	if r == nil {
		return nil, nil
	}
	if r.Rendered && s.config.Kube == nil {
		return nil, errors.New("the estate's Repository says rendered: true, and this server runs pools with Docker, for which there are no manifests: leave it out, or run with --runtime kube")
	}
	within := func(file string) string {
		if file == "" || filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(s.config.Estate, file)
	}
	remote := gitops.Remote{URL: r.Remote, Branch: r.Branch, SSHKey: within(r.SSHKey), KnownHosts: within(r.KnownHosts)}
	if r.Password != "" {
		remote.Password = func() (string, error) {
			return s.secret(context.WithoutCancel(ctx), s.config.Estate, r.Password, "the estate's repository")
		}
	}
	repository, err := gitops.Open(ctx, filepath.Join(s.config.Data, "estate", "repository.git"), remote)
	if err != nil {
		return nil, fmt.Errorf("open the estate's repository: %w", err)
	}
	key, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(s.keys.Derive("estate-commits", "ssh-ed25519")))
	if err != nil {
		return nil, fmt.Errorf("the key that commits to the estate are signed with: %w", err)
	}
	repository.Signer = key
	signatures, err := gitops.OpenSignatures(s.config.Estate, r, key.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("read who may sign commits to the estate: %w", err)
	}
	var hook func() (string, error)
	if r.Webhook != "" {
		hook = func() (string, error) {
			return s.secret(context.WithoutCancel(ctx), s.config.Estate, r.Webhook, "the estate's webhook")
		}
	}
	f := &gitops.Follower{Forge: s.forge(ctx, r), Hook: hook, Signatures: signatures, Repository: repository, Store: s.store, Folder: filepath.Join(s.config.Data, "estate", "commits"), Poll: r.Poll, Propose: r.Propose, Log: s.log, Check: compiles}
	if r.Rendered {
		f.Rendered = s.rendered
	}
	return f, nil
}

// rendered are the manifests of what runs in the cluster.
func (s *server) rendered(ctx context.Context) (map[string][]byte, error) {
	r, ok := s.runtime.(*kube.Runtime)
	if !ok {
		return nil, errors.New("no cluster is open")
	}
	return r.Rendered(ctx)
}

// forge is where the estate's pull requests are opened; nil where it names none.
func (s *server) forge(ctx context.Context, r *estate.Repository) *forge.Forge {
	if r.Forge == (estate.Forge{}) {
		return nil
	}
	token := cmp.Or(r.Forge.Token, r.Password)
	return &forge.Forge{Kind: forge.Kind(r.Forge.Kind), Base: r.Forge.URL, Project: r.Forge.Project, Token: func() (string, error) {
		return s.secret(context.WithoutCancel(ctx), s.config.Estate, token, "pull requests of the estate")
	}}
}

// compiles refuses an estate whose policies cannot be read, before it comes into force.
func compiles(declared *estate.Estate) error {
	_, err := gate.Compile(declared.Policies)
	return err
}

// firstCommit brings the estate's repository into force before anything else looks at it. A remote that is away
// does not keep a server from starting that has followed it before.
func (s *server) firstCommit(ctx context.Context) error {
	if s.follower == nil {
		return nil
	}
	err := s.follower.Take(ctx)
	if err == nil || errors.Is(err, gitops.ErrUnreachable) {
		_, known := s.follower.Declared(ctx)
		return known
	}
	return err
}

// git is what the API is told of the repository; nil where there is none.
func (s *server) git(engine *promotion.Engine) api.Git {
	if s.follower == nil {
		return nil
	}
	s.follower.Engine = engine
	return s.follower
}

// declarations is where the estate is written: the folder, or the repository that it is kept in.
func (s *server) declarations() promotion.Declarations {
	if s.follower == nil {
		return &gitops.Folder{Dir: s.config.Estate}
	}
	return s.follower
}
