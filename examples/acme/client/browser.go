package client

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Browser is a real Chromium with one tab on a site. What the status of an answer cannot tell it
// can: a form whose view names a field that the server did not describe is answered with 200,
// and throws in the browser.
type Browser struct {
	site   Site
	folder string
	tab    context.Context
	close  func()

	mu       sync.Mutex
	problems []string
	giveUp   func() // ends what the tab is doing; nil while it does nothing
}

// FindChromium returns the Chromium of this machine.
func FindChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium on this machine: apt-get install chromium")
}

// OpenBrowser starts Chromium with an empty tab. Bucket is as for Person. Pictures go to folder.
// Close it, or end ctx.
func (s Site) OpenBrowser(ctx context.Context, bucket int, folder string) (*Browser, error) {
	path, err := FindChromium()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("folder for pictures: %w", err)
	}
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", s.Address, err)
	}
	allocator, endAllocator := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.WindowSize(1400, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("password-store", "basic"),
		chromedp.Flag("host-resolver-rules", fmt.Sprintf("MAP %s:%s %s", s.Host, port, s.Address)),
		chromedp.WSURLReadTimeout(60*time.Second),
	)
	tab, endTab := chromedp.NewContext(allocator)
	b := &Browser{site: s, folder: folder, tab: tab, close: func() { endTab(); endAllocator() }}
	if err := b.start(bucket); err != nil {
		b.close()
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return b, nil
}

func (b *Browser) start(bucket int) error {
	// Listen rather than Console: an error that came before an answer is seen before the answer.
	if err := chromedp.Listen(b.tab, b.listen); err != nil {
		return err
	}
	for _, domain := range []cdp.Command[cdp.Empty, cdp.Empty]{runtime.Enable, log.Enable} {
		if _, err := chromedp.Call(b.tab, domain, cdp.Empty{}); err != nil {
			return err
		}
	}
	if bucket < 0 {
		return nil
	}
	_, err := chromedp.Call(b.tab, network.SetCookie, network.SetCookieParams{
		Name: BucketCookie, Value: strconv.Itoa(bucket), URL: b.site.origin(), Path: "/",
	})
	return err
}

// Close ends Chromium.
func (b *Browser) Close() { b.close() }

// listen collects what a person would not see but suffer from.
func (b *Browser) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		b.problem("exception: " + text)
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError {
			return
		}
		var words []string
		for _, arg := range e.Args {
			words = append(words, strings.Trim(string(arg.Value), `"`)+arg.Description)
		}
		b.problem("console: " + strings.Join(words, " "))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceOther {
			b.problem(fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *page.EventJavascriptDialogOpening:
		b.problem("dialog: " + e.Message)
	}
}

// packaging is what Odoo's bundles say about files that the Debian package leaves out for their
// licence; it comes with every page of every release.
const packaging = "console: 'Could not get content for "

func (b *Browser) problem(text string) {
	if strings.HasPrefix(text, packaging) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) < 100 {
		b.problems = append(b.problems, excerpt([]byte(text)))
	}
	if networkChanged([]string{text}) && b.giveUp != nil {
		b.giveUp() // such a page may stay half loaded for ever
	}
}

// Problems returns what went wrong in the tab since the last call: exceptions, errors in the
// console, requests that failed.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	problems := b.problems
	b.problems = nil
	return problems
}

// do runs actions in the tab for as long as a person is patient.
func (b *Browser) do(ctx context.Context, what string, actions ...step) error {
	patience := b.site.Patience
	if patience == 0 {
		patience = Patience
	}
	tab, cancel := context.WithTimeout(b.tab, patience)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	b.whileBusy(cancel)
	defer b.whileBusy(nil)
	if err := chromedp.Do(tab, actions...); err != nil {
		picture := filepath.Join(b.folder, "failed.png")
		_ = b.Picture(context.WithoutCancel(ctx), "failed")
		problems := b.Problems()
		if networkChanged(append(problems, err.Error())) {
			return fmt.Errorf("browser: %s: %w", what, ErrNetworkChanged)
		}
		return fmt.Errorf("browser: %s: %w (problems: %q; picture: %s)", what, err, problems, picture)
	}
	return nil
}

func (b *Browser) whileBusy(giveUp func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveUp = giveUp
}

// networkChanged tells a page that was cut off by the browser itself. What else went wrong on it
// followed from that.
func networkChanged(problems []string) bool {
	return slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "net::ERR_NETWORK_CHANGED") })
}

// Login logs in through the login page.
func (b *Browser) Login(ctx context.Context, login, password string) error {
	return b.do(ctx, "logging in as "+login,
		chromedp.Navigate(b.site.origin()+"/web/login"),
		chromedp.WaitVisible(chromedp.CSS(`input[name="login"]`)),
		chromedp.SetValue(chromedp.CSS(`input[name="login"]`), login),
		chromedp.SetValue(chromedp.CSS(`input[name="password"]`), password),
		chromedp.Click(chromedp.CSS(`.oe_login_form button[type="submit"]`)),
		chromedp.WaitVisible(chromedp.CSS(`.o_main_navbar`)),
	)
}

// Form is what a form shows.
type Form struct {
	Title  string   // of the record
	Fields []string // names of the fields that are rendered
}

// Has says whether the form shows a field.
func (f Form) Has(field string) bool {
	for _, name := range f.Fields {
		if name == field {
			return true
		}
	}
	return false
}

// OpenDelivery opens the form of a delivery (stock.picking) by its address.
func (b *Browser) OpenDelivery(ctx context.Context, id int) (Form, error) {
	return b.form(ctx, fmt.Sprintf("opening delivery %d", id),
		chromedp.Navigate(fmt.Sprintf("%s/odoo/action-stock.action_picking_tree_all/%d", b.site.origin(), id)))
}

// Reload reloads the tab, which shows a form.
func (b *Browser) Reload(ctx context.Context) (Form, error) {
	return b.form(ctx, "reloading the form", chromedp.Reload())
}

// Revisit leaves the form for the list and opens the first delivery there, all within the running
// page: the client asks for the record, and for no script or view that it has loaded already.
func (b *Browser) Revisit(ctx context.Context) (Form, error) {
	return b.form(ctx, "leaving the form and opening the first of the list",
		chromedp.Click(chromedp.CSS(`.o_back_button a, .breadcrumb-item a`)),
		chromedp.WaitVisible(chromedp.CSS(`.o_list_view .o_data_row`)),
		chromedp.Click(chromedp.CSS(`.o_list_view .o_data_row .o_data_cell[name="name"]`)),
	)
}

// form runs the actions, waits for the form and reads it. An error dialog, an exception or an
// error in the console is an error.
func (b *Browser) form(ctx context.Context, what string, actions ...step) (Form, error) {
	b.Problems()
	var form Form
	var dialogs []string
	var asksLogin bool
	actions = append(actions,
		chromedp.WaitVisible(chromedp.CSS(formOrTrouble)),
		settled(),
		read(`[...document.querySelectorAll('.o_error_dialog, .modal .o_error_detail')].map(e => e.innerText)`, &dialogs),
		read(`document.querySelector('.oe_login_form') !== null`, &asksLogin),
		read(`[...new Set([...document.querySelectorAll('.o_form_view .o_field_widget[name]')].map(e => e.getAttribute('name')))]`, &form.Fields),
		read(`(document.querySelector('.o_form_view .oe_title h1') || {innerText: ''}).innerText.trim()`, &form.Title),
	)
	if err := b.do(ctx, what, actions...); err != nil {
		return Form{}, err
	}
	problems := b.Problems()
	switch {
	case networkChanged(problems):
		return form, fmt.Errorf("browser: %s: %w", what, ErrNetworkChanged)
	case len(dialogs) > 0:
		return form, fmt.Errorf("browser: %s: an error dialog: %s %q", what, excerpt([]byte(dialogs[0])), problems)
	case asksLogin:
		return form, fmt.Errorf("browser: %s: %w: the login page instead of the form", what, ErrLoggedOut)
	case len(problems) > 0:
		return form, fmt.Errorf("browser: %s: %d problems: %q", what, len(problems), problems)
	}
	return form, nil
}

// step is one thing that is done in the tab.
type step = chromedp.Action[chromedp.Void]

// read evaluates a script and keeps its result.
func read[T any](script string, into *T) step {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		value, err := chromedp.Evaluate[T](script)(ctx, target)
		*into = value
		return err
	})
}

// formOrTrouble is what an action that opens a form ends with.
const formOrTrouble = `.o_form_view .o_field_widget[name="partner_id"], .o_error_dialog, .modal .o_error_detail, .oe_login_form`

// settled waits until the form, or what came instead, has stood for some frames with no request
// of Odoo's client under way; at most for as long as the browser's patience lasts.
func settled() step {
	const script = `new Promise(done => {
		let calm = 0;
		const look = () => {
			const there = document.querySelector(` + "'" + formOrTrouble + "'" + `);
			const busy = document.querySelector('.o_loading_indicator, .o_blockUI');
			calm = there && !busy ? calm + 1 : 0;
			calm > 20 ? done(true) : requestAnimationFrame(look);
		};
		look();
	})`
	return chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise)
}

// Picture writes NAME.png into the folder.
func (b *Browser) Picture(ctx context.Context, name string) error {
	tab, cancel := context.WithTimeout(b.tab, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	image, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("browser: taking a picture: %w", err)
	}
	return os.WriteFile(filepath.Join(b.folder, name+".png"), image, 0o644)
}

// Cookie returns the value of one of the site's cookies; empty when there is none.
func (b *Browser) Cookie(ctx context.Context, name string) (string, error) {
	var value string
	err := b.do(ctx, "reading cookies", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		answer, err := cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{URLs: []string{b.site.origin()}})
		for _, c := range answer.Cookies {
			if c.Name == name {
				value = c.Value
			}
		}
		return err
	}))
	return value, err
}
