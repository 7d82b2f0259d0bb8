package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/waybill-dev/waybill/internal/estate"
)

// chats are the services that the library sends to, as far as they fit: places where people read.
var chats = map[string]bool{
	"discord": true, "gotify": true, "matrix": true, "mattermost": true, "ntfy": true, "pushover": true,
	"rocketchat": true, "slack": true, "teams": true, "telegram": true, "zulip": true,
}

// busy are targets that a try is under way to. The library takes no context: one that hangs is waited
// for here, by no more than one goroutine a target.
var busy sync.Map

// chat sends to a chat through the library, by its form of addresses.
func chat(ctx context.Context, t estate.NotificationTarget, u *url.URL, m Message) error {
	if !chats[u.Scheme] {
		return permanent{fmt.Errorf("unknown kind of address; there are smtp, smtps, https and the chats %s", strings.Join(slices.Sorted(maps.Keys(chats)), ", "))}
	}
	sender, err := shoutrrr.CreateSender(u.String())
	if err != nil {
		return permanent{err}
	}
	address := u.String()
	if _, before := busy.LoadOrStore(address, true); before {
		return errors.New("an earlier try still hangs")
	}
	ended := make(chan error, 1)
	go func() {
		defer busy.Delete(address)
		ended <- errors.Join(sender.Send(m.Title+"\n\n"+m.Body(), &types.Params{})...)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
