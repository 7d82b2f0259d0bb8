package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Line is one line of an exported ledger: exactly one of its fields is set. The first line names the ledger.
type Line struct {
	Ledger string `json:"ledger,omitempty"`
	Entry  *Entry `json:"entry,omitempty"`
	Head   *Head  `json:"head,omitempty"`
}

// maxLine bounds a line that is read, in bytes.
const maxLine = 1 << 20

// Write exports lines as JSON, one a line.
func Write(w io.Writer, lines iter.Seq2[Line, error]) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(buffered)
	for line, err := range lines {
		if err != nil {
			return err
		}
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("write the ledger: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// Read reads an export. What cannot be read ends the sequence with an error that names the line.
func Read(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLine)
		for n := 1; scanner.Scan(); n++ {
			if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
				continue
			}
			var line Line
			err := json.Unmarshal(scanner.Bytes(), &line)
			if err == nil && line.Ledger == "" && line.Entry == nil && line.Head == nil {
				err = errors.New("neither an entry nor a head")
			}
			if err != nil {
				yield(Line{}, fmt.Errorf("line %d of the ledger does not parse: %w", n, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(Line{}, fmt.Errorf("read the ledger: %w", err))
		}
	}
}
