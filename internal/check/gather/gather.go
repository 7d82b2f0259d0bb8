package gather

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/check"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// Options says what to look at besides the addons.
type Options struct {
	Series       string // for example "19.0"
	Experimental bool   // allow a series that Waybill has not been tested with

	Base     string // as build.Options has it; empty: go without, and name the checks that need one
	BaseDir  string // what relative folders and files in Base are relative to
	Registry build.Registry
	// BaseOptional says that a base that cannot be had is no error: the Input names it as not looked at.
	BaseOptional bool

	Running  []check.RunningRelease
	Now      time.Time                        // the zero time: now
	Cache    string                           // folder; default: the user's cache folder
	Progress func(format string, args ...any) // one line each; may be nil
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(format, args...)
	}
}

// Folder gathers the addons of a working tree as they lie there. Folders are those of the addons,
// relative to dir; none stands for "addons", or for dir itself where it holds modules.
func Folder(ctx context.Context, dir string, folders []string, o Options) (*check.Input, error) {
	tree, err := openFolder(ctx, dir, folders)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	in, err := gather(ctx, tree, o)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return in, nil
}

// Source gathers the addons of a build, before anything of it is pushed.
func Source(ctx context.Context, source build.SourceTree, o Options) (*check.Input, error) {
	in, err := gather(ctx, newSourceTree(source), o)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return in, nil
}

func gather(ctx context.Context, t tree, o Options) (*check.Input, error) {
	info, err := odoo.Series(o.Series, o.Experimental)
	if err != nil {
		return nil, err
	}
	in := &check.Input{Series: info, Running: o.Running, Now: o.Now}
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	// The base and the modules are read side by side; a module that cannot be read ends the other, which
	// may take a minute the first time.
	within, end := context.WithCancel(ctx)
	defer end()
	opened := make(chan opening, 1)
	go func() { opened <- o.base(within) }()
	r := &reader{series: info, running: o.Running}
	in.Modules, err = r.modules(ctx, t)
	if err != nil {
		end()
		if base := <-opened; base.base != nil {
			base.dismiss()
		}
		return nil, err
	}
	in.Unread = r.unread
	base := <-opened
	if base.without != "" {
		in.Unread = append(in.Unread, check.NotChecked{Why: base.without})
	}
	if base.err != nil || base.base == nil {
		return in, base.err
	}
	defer base.dismiss()
	in.Base = base.index
	return in, base.parse(ctx, in)
}

// opening is what came of opening a base.
type opening struct {
	*base          // nil where there is none
	without string // why it is left out, where it may be
	err     error
}

// base opens and indexes the base.
func (o Options) base(ctx context.Context) opening {
	if o.Base == "" {
		return opening{}
	}
	img, err := build.OpenBase(ctx, o.Base, o.BaseDir, o.Cache, o.Registry)
	var found *base
	if err == nil {
		found, err = o.open(ctx, img)
	}
	switch {
	case err != nil && o.BaseOptional && ctx.Err() == nil:
		return opening{without: "the base image was not looked at: " + err.Error()}
	case err != nil:
		return opening{err: err}
	case found.series != o.Series:
		return opening{err: fmt.Errorf("base %s holds Odoo %s, and the product is of series %s", o.Base, found.series, o.Series)}
	}
	found.prepare(ctx)
	return opening{base: found}
}

// Base indexes a base image by itself: what a check would know of it.
func Base(ctx context.Context, img v1.Image, cache string, progress func(string, ...any)) (*check.Base, error) {
	found, err := Options{Cache: cache, Progress: progress}.open(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return found.index, nil
}
