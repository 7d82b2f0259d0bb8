package check

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
)

// pythonXML says of each text whether expat, an XML reader that follows the standard, takes it.
const pythonXML = `
import json, sys
from xml.parsers import expat
answers = []
for text in json.load(sys.stdin):
    try:
        expat.ParserCreate(namespace_separator=' ').Parse(text.encode(), True)
        answers.append('')
    except expat.ExpatError as e:
        answers.append(str(e))
print(json.dumps(answers))
`

// TestXMLAsExpat compares what is well-formed with a reader that follows the standard. It compares
// the yes or no, over every sequence of up to three pieces, and of up to five of the first.
func TestXMLAsExpat(t *testing.T) {
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is missing; install it: hack/setup.sh packages checks")
	}
	pieces := []string{
		"<a>", "</a>", "<b/>", "x", "&amp;", "&nbsp;", "&", "<!--c-->", "<a x='1' y=\"<\"/>", "<a x='1' x='2'/>", "<p:a/>", "<p:a xmlns:p='u'>", "</p:a>",
		"<![CDATA[<&]]>", "]]>", "<?xml version='1.0'?>", "\n", "<?pi?>", "<!DOCTYPE a>", "<a", ">", "<a b=c/>", "\x01", "<!-- a--b -->",
	}
	texts := append(sequences(pieces, 3), sequences(pieces[:6], 5)...)
	question, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-I", "-S", "-c", pythonXML)
	cmd.Stdin = bytes.NewReader(question)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	if err := json.Unmarshal(out, &want); err != nil || len(want) != len(texts) {
		t.Fatalf("%d answers to %d texts: %v", len(want), len(texts), err)
	}
	wrong, taken := 0, 0
	for i, text := range texts {
		_, err := readXML([]byte(text))
		if want[i] == "" {
			taken++
		}
		if (err == nil) != (want[i] == "") {
			if wrong++; wrong < 20 {
				t.Errorf("%q: %v here; %q by expat", text, err, want[i])
			}
		}
	}
	if wrong > 0 || taken == 0 {
		t.Errorf("%d of %d differ; %d are well-formed", wrong, len(texts), taken)
	}
}

// sequences are all texts that up to so many pieces make.
func sequences(pieces []string, length int) []string {
	var texts []string
	level := []string{""}
	for range length {
		var next []string
		for _, text := range level {
			for _, piece := range pieces {
				next = append(next, text+piece)
			}
		}
		texts, level = append(texts, next...), next
	}
	return texts
}
