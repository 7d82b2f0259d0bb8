package check

import "sync"

// dataIndex is what the modules' data files say, read once for all checks.
type dataIndex struct {
	once sync.Once
}
