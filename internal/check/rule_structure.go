package check

import "fmt"

// attributesOf are what Odoo's schema of data files demands of an element.
var attributesOf = map[string][]string{
	"record":   {"model"},
	"menuitem": {"id"},
	"function": {"model", "name"},
	"delete":   {"model"},
	"asset":    {"id", "name"},
}

// structure says where a data file is XML, and yet not what Odoo loads.
func structure(root *element) *xmlError {
	switch root.name {
	case "odoo", "openerp", "data":
		return children(root)
	}
	return &xmlError{root.line, fmt.Sprintf("it begins with <%s>; a data file of Odoo with <odoo>", root.name)}
}

func children(parent *element) *xmlError {
	for _, e := range parent.children {
		var err *xmlError
		switch e.name {
		case "odoo", "openerp", "data":
			err = children(e)
		case "record", "menuitem", "function", "delete", "asset":
			for _, name := range attributesOf[e.name] {
				if e.get(name) == "" {
					return &xmlError{e.line, fmt.Sprintf("<%s> lacks the attribute %q", e.name, name)}
				}
			}
			for _, child := range e.children {
				if _, ok := child.lookup("name"); child.name == "field" && !ok {
					return &xmlError{child.line, "<field> lacks the attribute \"name\""}
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
