package gather

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
)

// Elements of a data file that define a record.
var defining = map[string]bool{
	"record": true, "template": true, "menuitem": true, "act_window": true, "report": true, "asset": true, "url": true,
}

// madeID finds the ids that a data file gives to records which code made: as stock does, for
// stock.stock_location_stock and others that everybody names.
var madeID = regexp.MustCompile(`["']xml_?id["']\s*:\s*["']([^"'\s]+)["']`)

// maxNesting of elements; Odoo's deepest views have about 40.
const maxNesting = 1000

// xmlIDs are the ids of the records that an XML data file defines. Of a file that is not well
// formed it returns those before the fault: the base is as it is.
func xmlIDs(content []byte) []string {
	if !bytes.Contains(content, []byte("<odoo")) && !bytes.Contains(content, []byte("<openerp")) && !bytes.Contains(content, []byte("<data")) {
		return nil // a template for the browser
	}
	var ids []string
	for _, match := range madeID.FindAllSubmatch(content, -1) {
		ids = append(ids, string(match[1]))
	}
	d := xml.NewDecoder(bytes.NewReader(content))
	d.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	for depth := 0; depth < maxNesting; {
		token, err := d.RawToken()
		if err != nil {
			return ids
		}
		switch t := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			depth++
			if !defining[t.Name.Local] {
				continue
			}
			for _, a := range t.Attr {
				if a.Name.Local == "id" && a.Name.Space == "" && a.Value != "" {
					ids = append(ids, a.Value)
				}
			}
		}
	}
	return ids
}

// csvIDs are the ids of the records that a CSV data file defines, whichever column they are in.
func csvIDs(content []byte) []string {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\ufeff"))))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	head, err := r.Read()
	if err != nil {
		return nil
	}
	column := -1
	for i, name := range head {
		if strings.TrimSpace(name) == "id" {
			column = i
		}
	}
	if column < 0 {
		return nil
	}
	var ids []string
	for {
		row, err := r.Read()
		if err == io.EOF {
			return ids
		}
		if err == nil && column < len(row) && strings.TrimSpace(row[column]) != "" {
			ids = append(ids, strings.Clone(strings.TrimSpace(row[column])))
		}
	}
}
