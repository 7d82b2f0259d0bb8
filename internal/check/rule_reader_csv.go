package check

import (
	"errors"
	"path"
	"strings"
)

// csv collects from a file whose name says the model and whose header says the fields.
func (r *dataReader) csv(f *dataFile) {
	rows, err := readCSV(f.file.Content)
	if errors.As(err, &f.err) {
		return
	}
	if len(rows) == 0 {
		f.err = &xmlError{1, "it has no header: Odoo expects the names of the fields in the first line"}
		return
	}
	header := rows[0].fields
	if strings.HasPrefix(header[0], "\ufeff") {
		f.err = &xmlError{1, "it begins with a byte order mark, which Odoo takes for a part of the first field's name; save it without"}
		return
	}
	base := path.Base(f.name)
	model, _, _ := strings.Cut(strings.TrimSuffix(base, path.Ext(base)), "-")
	r.data.uses = append(r.data.uses, modelUse{model, "file name", r.at(1)})

	columns := make([]csvColumn, len(header))
	for i, name := range header {
		columns[i] = column(name, header)
	}
	for _, row := range rows[1:] {
		var id string
		for i, value := range row.fields {
			if i < len(columns) && columns[i].defines && value != "" {
				r.define(value, model, row.line)
				if columns[i].field == "" {
					id = value
				}
			}
		}
		right := accessRight{id: r.qualify(id), place: r.at(row.line)}
		for i, value := range row.fields {
			switch {
			case i >= len(columns) || !columns[i].refers || value == "":
			case model == "ir.model.access" && columns[i].field == "model_id":
				right.model = r.qualify(value)
			case model == "ir.model.access" && columns[i].field == "group_id":
				right.group = r.qualify(value)
			default:
				for id := range strings.SplitSeq(value, ",") {
					if id = strings.TrimSpace(id); id != "" {
						r.data.refs = append(r.data.refs, reference{id: r.qualify(id), what: "column " + header[i], place: r.at(row.line)})
					}
				}
			}
		}
		if model == "ir.model.access" {
			r.data.access = append(r.data.access, right)
		}
	}
}

type csvColumn struct {
	field           string // path of the field; empty for the record itself
	defines, refers bool
}

// column reads one name of a header: "id", "name", "group_id:id", "partner_id/id" …
func column(name string, header []string) csvColumn {
	name = strings.ReplaceAll(strings.TrimSpace(name), ":", "/")
	if name == "id" {
		return csvColumn{defines: true}
	}
	field, ok := strings.CutSuffix(name, "/id")
	if !ok {
		return csvColumn{field: name}
	}
	// Of records below the record, the header names further fields.
	for _, other := range header {
		other = strings.ReplaceAll(strings.TrimSpace(other), ":", "/")
		if other != name && strings.HasPrefix(other, field+"/") && other != field+"/.id" {
			return csvColumn{field: field, defines: true}
		}
	}
	return csvColumn{field: field, refers: true}
}
