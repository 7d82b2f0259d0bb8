package waybill

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// Schema is the JSON Schema (2020-12) of a waybill's predicate. Fields may be added, so none is forbidden.
func Schema() ([]byte, error) {
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	root := registry.Schema(reflect.TypeFor[Document](), true, "Waybill")
	encoded, err := json.Marshal(registry.Map())
	if err != nil {
		return nil, err
	}
	var defs map[string]any
	if err := json.Unmarshal(encoded, &defs); err != nil {
		return nil, err
	}
	open(defs)
	if entry, ok := defs["Entry"].(map[string]any); ok { // its type is a text that encodes itself as the object that it holds
		entry["properties"].(map[string]any)["payload"] = map[string]any{"type": "object", "description": "What the act holds; docs/ledger.md says what by kind"}
	}
	out, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:waybill:waybill", "title": "Waybill: the document of one promotion",
		"description": "The predicate of an in-toto statement of type " + PredicateType, "$ref": root.Ref, "$defs": defs,
	}, "", "  ")
	return append(out, '\n'), err
}

// open takes away what forbids fields.
func open(v any) {
	switch v := v.(type) {
	case map[string]any:
		if v["additionalProperties"] == false {
			delete(v, "additionalProperties")
		}
		for _, each := range v {
			open(each)
		}
	case []any:
		for _, each := range v {
			open(each)
		}
	}
}
