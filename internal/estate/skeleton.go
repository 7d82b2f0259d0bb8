package estate

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed all:skeleton
var skeletonFiles embed.FS

// schemaFile is where a new estate keeps the schema for editors; hidden, so that Load passes by.
const schemaFile = ".schemas/estate.json"

// Skeleton returns the files of a new estate by path: a product with that name, test and
// production, a tenant in each. Load accepts it as it is. A name that cannot be one is made
// into one ("My Shop" → "my-shop"), or "shop" where nothing is left of it.
func Skeleton(name string) map[string]string {
	name = slug(name)
	const longest = maxDatabase - len("_production") // the tenants have the product's name, and databases after it
	if name = strings.TrimRight(name[:min(len(name), longest)], "-"); name == "" {
		name = "shop"
	}
	files := map[string]string{schemaFile: string(Schemas()["estate"])}
	err := fs.WalkDir(skeletonFiles, "skeleton", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := skeletonFiles.ReadFile(path)
		if err != nil {
			return err
		}
		files[strings.TrimPrefix(path, "skeleton/")] = strings.ReplaceAll(string(content), "NAME", name)
		return nil
	})
	if err != nil {
		panic("estate: read the embedded skeleton: " + err.Error()) // it is part of the binary
	}
	return files
}
