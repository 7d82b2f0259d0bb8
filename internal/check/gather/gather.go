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
	in, err := gather(ctx, sourceTree{source}, o)
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
	r := &reader{series: info, running: o.Running}
	if in.Modules, err = r.modules(ctx, t); err != nil {
		return nil, err
	}
	in.Unread = r.unread
	base, err := o.base(ctx, in)
	if err != nil || base == nil {
		return in, err
	}
	in.Base = base.index
	return in, base.parse(ctx, in)
}

// base opens and indexes the base; nil where there is none, which the Input then says.
func (o Options) base(ctx context.Context, in *check.Input) (*base, error) {
	if o.Base == "" {
		return nil, nil
	}
	img, err := build.OpenBase(ctx, o.Base, o.BaseDir, o.Cache, o.Registry)
	var found *base
	if err == nil {
		found, err = o.open(ctx, img)
	}
	if err == nil && found.series != o.Series {
		return nil, fmt.Errorf("base %s holds Odoo %s, and the product is of series %s", o.Base, found.series, o.Series)
	}
	if err != nil && o.BaseOptional && ctx.Err() == nil {
		in.Unread = append(in.Unread, check.NotChecked{Why: "the base image was not looked at: " + err.Error()})
		return nil, nil
	}
	return found, err
}

// Base indexes a base image by itself: what a check would know of it.
func Base(ctx context.Context, img v1.Image, cache string, progress func(string, ...any)) (*check.Base, error) {
	found, err := Options{Cache: cache, Progress: progress}.open(ctx, img)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return found.index, nil
}
