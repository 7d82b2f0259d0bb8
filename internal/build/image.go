package build

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/release"
)

// User is whom the image runs as. Files of the tenants belong to it.
const User = "10001:10001"

// baseLayersAnnotation says how many of the layers, from the bottom, are the base's.
const baseLayersAnnotation = "dev.waybill.base-layers"

// addendum is a layer with what its history says.
type addendum struct {
	layer   v1.Layer
	what    string
	created time.Time
}

// groups puts modules into layers: one each, or, with too many, by a number that depends on the
// module's name alone, so that a further module does not move the others.
func groups(modules []sourceModule, room int) [][]sourceModule {
	if len(modules) <= min(maxOwnLayers, room) {
		each := make([][]sourceModule, len(modules))
		for i, m := range modules {
			each[i] = []sourceModule{m}
		}
		return each
	}
	shared := make([][]sourceModule, min(sharedLayers, room))
	for _, m := range modules {
		h := sha256.Sum256([]byte(m.name))
		n := (int(h[0])<<8 | int(h[1])) % len(shared)
		shared[n] = append(shared[n], m)
	}
	var filled [][]sourceModule
	for _, group := range shared {
		if len(group) > 0 {
			filled = append(filled, group)
		}
	}
	return filled
}

// assemble puts layers on a base and says in the configuration how the image is run.
func assemble(base v1.Image, layers []addendum, rel release.Release, below int) (v1.Image, error) {
	// Annotations belong to OCI manifests; a base in Docker's own format becomes one.
	img := mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	var addenda []mutate.Addendum
	for _, a := range layers {
		addenda = append(addenda, mutate.Addendum{Layer: a.layer, History: v1.History{
			Created: v1.Time{Time: a.created}, CreatedBy: "waybill: " + a.what,
		}})
	}
	img, err := mutate.Append(img, addenda...)
	if err != nil {
		return nil, fmt.Errorf("adding layers to the base: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the base's configuration: %w", err)
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: rel.Created}
	config.Author, config.Container = "", ""
	configure(&config.Config, rel)
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	notes, err := annotations(rel, below)
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, notes).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("the image cannot be annotated")
	}
	return annotated, nil
}

func configure(c *v1.Config, rel release.Release) {
	// The official image's entry point wants its own variables; the runtime gives the whole command.
	c.Entrypoint = nil
	c.Cmd = []string{"odoo", "--config=" + bridge.ConfigDir + "/" + bridge.OdooConfFile}
	c.User, c.WorkingDir = User, "/"
	// A declared volume would make an anonymous one for each container.
	c.Volumes, c.Healthcheck, c.OnBuild, c.Hostname, c.Domainname, c.Image = nil, nil, nil, "", "", ""
	c.AttachStdin, c.AttachStdout, c.AttachStderr, c.OpenStdin, c.StdinOnce, c.Tty = false, false, false, false, false, false
	c.ExposedPorts = map[string]struct{}{"8069/tcp": {}, "8072/tcp": {}}
	own := map[string]string{"HOME": bridge.DataDir, "LANG": "C.UTF-8"}
	var env []string
	for _, kv := range c.Env {
		name, _, _ := strings.Cut(kv, "=")
		_, replaced := own[name]
		// From series 19 on Odoo lets ODOO_… and PG… variables overrule its configuration file.
		if !replaced && !strings.HasPrefix(name, "PG") && !(strings.HasPrefix(name, "ODOO_") && name != "ODOO_VERSION") {
			env = append(env, kv)
		}
	}
	for _, name := range sortedNames(own) {
		env = append(env, name+"="+own[name])
	}
	c.Env = env
	labels := map[string]string{}
	for key, value := range c.Labels {
		if !strings.HasPrefix(key, "org.opencontainers.image.") {
			labels[key] = value
		}
	}
	labels["org.opencontainers.image.source"] = rel.Source
	labels["org.opencontainers.image.revision"] = rel.Commit
	labels["org.opencontainers.image.version"] = rel.Name
	labels["org.opencontainers.image.created"] = rel.Created.UTC().Format(time.RFC3339)
	c.Labels = labels
}
