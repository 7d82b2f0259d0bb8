package estate

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// TenantTemplate is what tenants of one sort have in common: waybill tenant create --from NAME makes one. kind: TenantTemplate.
type TenantTemplate struct {
	Name          string            `yaml:"name" json:"name"`
	Environments  []string          `yaml:"environments" json:"environments"`               // where tenants may be made from it
	Hosts         []string          `yaml:"hosts" json:"hosts"`                             // host names, each with {name} in it, which stands for the tenant's: {name}.shops.example
	Hosting       Hosting           `yaml:"hosting" json:"hosting"`                         // default shared
	Modules       []string          `yaml:"modules" json:"modules,omitempty"`               // installed
	Languages     []string          `yaml:"languages" json:"languages,omitempty"`           // Odoo's codes
	Ring          string            `yaml:"ring" json:"ring,omitempty"`                     // of the environments' rings; default: the one whose labels the tenant has
	Labels        map[string]string `yaml:"labels" json:"labels,omitempty"`                 // of the tenants, for policies, calendars and rings to select by
	Data          string            `yaml:"data" json:"data,omitempty"`                     // ENVIRONMENT/TENANT[/CHECKPOINT] whose data a new tenant begins with, by default its newest checkpoint; empty: modules without any data
	AdminPassword string            `yaml:"admin_password" json:"admin_password,omitempty"` // of the user admin, by reference: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY; without data it is needed, for Odoo's own is known to everybody
}

// nameMark stands for the tenant's name in the host names of a template.
const nameMark = "{name}"

// Template returns the template of that name.
func (e *Estate) Template(name string) (TenantTemplate, bool) {
	for _, t := range e.Templates {
		if t.Name == name {
			return t, true
		}
	}
	return TenantTemplate{}, false
}

// Tenant is a tenant as the template has it; hosts, where given, are instead of the template's own.
func (t TenantTemplate) Tenant(environment, name string, hosts []string) Tenant {
	if len(hosts) == 0 {
		for _, h := range t.Hosts {
			hosts = append(hosts, strings.ReplaceAll(h, nameMark, name))
		}
	}
	return Tenant{Name: name, Environment: environment, Database: name + "_" + environment, Hosts: hosts, Hosting: t.Hosting,
		Modules: slices.Clone(t.Modules), Languages: slices.Clone(t.Languages), Ring: t.Ring, Labels: t.Labels}
}

// TenantDocument is a Tenant as Waybill writes it into an estate, below a comment.
func TenantDocument(t Tenant, comment string) []byte {
	written := struct {
		Kind        string            `yaml:"kind"`
		Name        string            `yaml:"name"`
		Environment string            `yaml:"environment"`
		Database    string            `yaml:"database,omitempty"`
		Hosts       []string          `yaml:"hosts"`
		Hosting     Hosting           `yaml:"hosting,omitempty"`
		Modules     []string          `yaml:"modules,omitempty"`
		Languages   []string          `yaml:"languages,omitempty"`
		Ring        string            `yaml:"ring,omitempty"`
		Labels      map[string]string `yaml:"labels,omitempty"`
	}{"Tenant", t.Name, t.Environment, t.Database, t.Hosts, t.Hosting, t.Modules, t.Languages, t.Ring, t.Labels}
	if t.Database == t.Name+"_"+t.Environment {
		written.Database = ""
	}
	if t.Hosting == Shared {
		written.Hosting = ""
	}
	text, err := yaml.MarshalWithOptions(written, yaml.IndentSequence(true))
	if err != nil {
		panic(err) // texts alone
	}
	head := ""
	for line := range strings.Lines(comment) {
		head += "# " + strings.TrimRight(line, "\n") + "\n"
	}
	return append([]byte(head), text...)
}
