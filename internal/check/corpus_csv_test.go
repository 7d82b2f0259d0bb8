package check

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"reflect"
	"testing"
)

// pythonCSV reads as Odoo does: json of the rows that are not empty, or of the error.
const pythonCSV = `
import csv, io, json, sys
texts = json.load(sys.stdin)
answers = []
for text in texts:
    try:
        answers.append([row for row in csv.reader(io.StringIO(text), quotechar='"', delimiter=',') if row])
    except csv.Error:
        answers.append(None)
print(json.dumps(answers))
`

// TestCSVAsPython compares with Python's own module.
func TestCSVAsPython(t *testing.T) {
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing; install it: hack/setup.sh packages checks")
	}
	pieces := []string{"a", ",", "\"", "\n", "\r\n", " ", "é", "\r", "b,c", "\"\"", "'"}
	texts := []string{"", "\n\n", "a,b\n\"x\ny\",z"}
	texts = append(texts, sequences(pieces, 4)...)
	question, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-I", "-S", "-c", pythonCSV)
	cmd.Stdin = bytes.NewReader(question)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [][][]string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(texts) {
		t.Fatalf("%d answers to %d texts", len(want), len(texts))
	}
	for i, text := range texts {
		rows, err := readCSV([]byte(text))
		got := [][]string{}
		for _, row := range rows {
			got = append(got, row.fields)
		}
		switch {
		case want[i] == nil && err == nil:
			t.Errorf("%q: Python refuses it; %q here", text, got)
		case want[i] != nil && err != nil:
			t.Errorf("%q: %v; %q in Python", text, err, want[i])
		case want[i] != nil && !reflect.DeepEqual(got, want[i]):
			t.Errorf("%q: %q; %q in Python", text, got, want[i])
		}
	}
}
