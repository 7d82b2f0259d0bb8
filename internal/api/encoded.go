package api

import (
	"bytes"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// encoded is a T as JSON, for what many are answered with in one moment: it is encoded once for all of them. The document
// describes it as a T.
type encoded[T any] []byte

// encode is the JSON that anybody would be answered with.
func encode[T any](v T) (encoded[T], error) {
	var text bytes.Buffer
	err := huma.DefaultJSONFormat.Marshal(&text, v)
	return text.Bytes(), err
}

// Schema implements huma.SchemaProvider.
func (encoded[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

func (e encoded[T]) json() []byte { return e }

// formats are huma's, but for what is encoded already.
func formats() map[string]huma.Format {
	f := huma.DefaultJSONFormat
	f.Marshal = func(w io.Writer, v any) error {
		if e, is := v.(interface{ json() []byte }); is {
			_, err := w.Write(e.json())
			return err
		}
		return huma.DefaultJSONFormat.Marshal(w, v)
	}
	return map[string]huma.Format{"application/json": f, "json": f}
}
