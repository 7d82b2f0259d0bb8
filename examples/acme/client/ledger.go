package client

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Entry is one line of a ledger: what Odoo acknowledged.
type Entry struct {
	Reference string    `json:"reference"`
	ID        int       `json:"id"`
	State     State     `json:"state"`
	At        time.Time `json:"at"`
}

// Ledger is the customers' own record of acknowledged orders: a file that only ever grows, each
// line on disk before the next request is made. It is safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	file   *os.File
	orders map[string]Entry // latest state by reference
}

// OpenLedger opens the file, or makes it, and reads what it holds.
func OpenLedger(path string) (*Ledger, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the order ledger: %w", err)
	}
	ledger := &Ledger{file: file, orders: map[string]Entry{}}
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		var entry Entry
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			file.Close()
			return nil, fmt.Errorf("order ledger %s, line %d: %w", path, number, err)
		}
		ledger.orders[entry.Reference] = entry
	}
	if err := lines.Err(); err != nil {
		file.Close()
		return nil, fmt.Errorf("reading the order ledger %s: %w", path, err)
	}
	return ledger, nil
}

// Acknowledge writes down that Odoo said so.
func (l *Ledger) Acknowledge(reference string, id int, state State) error {
	entry := Entry{Reference: reference, ID: id, State: state, At: time.Now().UTC()}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing down order %s: %w", reference, err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("writing down order %s: %w", reference, err)
	}
	l.orders[reference] = entry
	return nil
}

// Entries returns the latest acknowledged state of every order.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := make([]Entry, 0, len(l.orders))
	for _, e := range l.orders {
		entries = append(entries, e)
	}
	return entries
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }
