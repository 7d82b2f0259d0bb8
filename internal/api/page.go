package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// PageInput is what every list may be asked for with.
type PageInput struct {
	Cursor string `query:"cursor" maxLength:"500" doc:"Next-Cursor of the answer before; empty: from the start"`
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"At most so many at a time"`
}

// LongPageInput is the same for lists that are short in most places.
type LongPageInput struct {
	Cursor string `query:"cursor" maxLength:"500" doc:"Next-Cursor of the answer before; empty: from the start"`
	Limit  int    `query:"limit" default:"500" minimum:"1" maximum:"1000" doc:"At most so many at a time"`
}

// page is a part of a list, and where the next one begins.
type page[T any] struct {
	Following
	Body []T
}

// Following is where the next part of a list begins.
type Following struct {
	Link string `header:"Link" doc:"<URL of the next part>; rel=next. Absent: this is the last one"`
	Next string `header:"Next-Cursor" doc:"What to give as cursor for the next part. Absent: this is the last one"`
}

// encodedPage is a page that is encoded already.
type encodedPage[T any] struct {
	Following
	Body encoded[[]T]
}

// cursor is a place in a list: behind the item with this key.
type cursor struct {
	List string   `json:"l"`
	Key  []string `json:"k"`
}

// behind reads a cursor of a list: as many words as its key has, or none where it begins at the start.
func behind(list, text string, words int) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	content, err := base64.RawURLEncoding.DecodeString(text)
	var c cursor
	if err == nil {
		err = json.Unmarshal(content, &c)
	}
	if err != nil || c.List != list || len(c.Key) != words {
		return nil, stale(list)
	}
	return c.Key, nil
}

func stale(list string) error {
	return as(staleCursor, "the cursor is not one of the list of "+list+", or what it stood at is gone; begin from the start")
}

// behindNumber is behind for lists that are numbered; 0: from the start.
func behindNumber(list, text string) (int64, error) {
	key, err := behind(list, text, 1)
	if err != nil || key == nil {
		return 0, err
	}
	n, err := strconv.ParseInt(key[0], 10, 64)
	if err != nil || n < 1 {
		return 0, stale(list)
	}
	return n, nil
}

// behindTime is behind for lists that are ordered by a time and then by an ID. The zero time: from the start.
func behindTime(list, text string) (time.Time, string, error) {
	key, err := behind(list, text, 2)
	if err != nil || key == nil {
		return time.Time{}, "", err
	}
	at, err := time.Parse(time.RFC3339Nano, key[0])
	if err != nil {
		return at, "", stale(list)
	}
	return at, key[1], nil
}

// paged is a page whose end the list's own query has found: more may follow where it is as long as was asked for.
func paged[T any](ctx context.Context, list string, items []T, limit int, key func(T) []string) *page[T] {
	if items == nil {
		items = []T{}
	}
	p := &page[T]{Body: items}
	if len(items) >= limit {
		p.Following = follow(ctx, list, key(items[len(items)-1]))
	}
	return p
}

// follow says where a list goes on behind the item with this key.
func follow(ctx context.Context, list string, key []string) Following {
	content, _ := json.Marshal(cursor{list, key}) // words cannot fail
	text := base64.RawURLEncoding.EncodeToString(content)
	next := askingOf(ctx).url
	query := next.Query()
	query.Set("cursor", text)
	next.RawQuery = query.Encode()
	return Following{Link: "<" + next.RequestURI() + `>; rel="next"`, Next: text}
}

// cut is a page of a list that is in memory.
func cut[T any](ctx context.Context, list string, items []T, text string, limit int, key func(T) string) (*page[T], error) {
	after, err := behind(list, text, 1)
	if err != nil {
		return nil, err
	}
	if after != nil {
		i := slices.IndexFunc(items, func(item T) bool { return key(item) == after[0] })
		if i < 0 {
			return nil, stale(list)
		}
		items = items[i+1:]
	}
	if len(items) <= limit {
		return paged(ctx, list, items, len(items)+1, nil), nil
	}
	return paged(ctx, list, items[:limit], limit, func(item T) []string { return []string{key(item)} }), nil
}
