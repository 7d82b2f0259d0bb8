package estate

import (
	"bytes"
	"strings"
)

// RenderedFolder is where a repository has what Waybill applied, so that people can read and compare it. It declares nothing.
const RenderedFolder = "rendered"

// RenderedMark begins each file there. A file without it is read as any other, so that no declaration is passed over in silence.
const RenderedMark = "# Written by Waybill: what it has applied. "

// isRendered says whether a file of an estate is such a one.
func isRendered(name string, content []byte) bool {
	return strings.HasPrefix(name, RenderedFolder+"/") && bytes.HasPrefix(content, []byte(RenderedMark))
}
