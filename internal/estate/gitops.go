package estate

import "time"

// Repository says where the estate itself is kept in Git, so that the server takes it from there. It is read from
// the folder that the server was started with, and from nowhere else. kind: Repository.
type Repository struct {
	Remote     string        `yaml:"remote" json:"remote"`                     // https://…, ssh://…, git@host:path or a folder; a user may be in it, a password never
	Branch     string        `yaml:"branch" json:"branch"`                     // what is declared; default main
	Password   string        `yaml:"password" json:"password,omitempty"`       // reference to the user's password or token, for https: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY
	SSHKey     string        `yaml:"ssh_key" json:"ssh_key,omitempty"`         // file with the private key, for ssh; default: as ssh itself is configured
	KnownHosts string        `yaml:"known_hosts" json:"known_hosts,omitempty"` // file with the server's key, for ssh; default: the user's own
	Poll       time.Duration `yaml:"poll" json:"poll"`                         // how often the remote is asked; 0s: only when it is told, see docs/gitops.md; default 1m
	Propose    Propose       `yaml:"propose" json:"propose"`                   // how a promotion is written down: commit (to the branch) or branch (of its own, for a pull request); default commit
	Webhook    string        `yaml:"webhook" json:"webhook,omitempty"`         // reference to the secret that the forge signs its calls of /hooks/estate with: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY; default: nobody is answered there
	Forge      Forge         `yaml:"forge" json:"forge,omitzero"`              // where pull requests are opened for such branches; default: people open them
	Rendered   bool          `yaml:"rendered" json:"rendered,omitempty"`       // whether what Waybill has applied to a Kubernetes is written down in the branch's folder rendered/

	Signers   []Signer    `yaml:"signers" json:"signers,omitempty"`     // who may sign commits, by which keys; default: nobody is asked for a signature
	Signed    Signed      `yaml:"signed" json:"signed,omitempty"`       // what must be signed: everything, or targets (what moves an environment); default everything where there are signers
	Protected []Protected `yaml:"protected" json:"protected,omitempty"` // paths that some signers alone may change
}

// Forge is where the repository lives, and pull requests are opened.
type Forge struct {
	Kind    string `yaml:"kind" json:"kind"`                 // github, gitlab or gitea (Forgejo too); default: by the host, where it is github.com, gitlab.com or codeberg.org
	URL     string `yaml:"url" json:"url,omitempty"`         // at which people see it, for example https://git.example.com; default: the host of the remote, by https
	Project string `yaml:"project" json:"project,omitempty"` // owner/name there; default: as in the remote
	Token   string `yaml:"token" json:"token,omitempty"`     // reference to the token of somebody who may open pull requests: env:NAME, file:PATH or kubernetes:NAMESPACE/NAME/KEY; default: the remote's password
}

// Signer is somebody, or a forge, whose signature on a commit counts.
type Signer struct {
	Name    string   `yaml:"name" json:"name"`                 // of a user of the estate, who then is the one who asked; or a word for readers
	SSH     []string `yaml:"ssh" json:"ssh,omitempty"`         // public keys as in a .pub file: ssh-ed25519 AAAA…
	OpenPGP string   `yaml:"openpgp" json:"openpgp,omitempty"` // file with public keys, armoured
}

// Protected says who alone may change files.
type Protected struct {
	Paths   []string `yaml:"paths" json:"paths"`     // of files in the repository; * stands for anything but a slash, ** for anything
	Signers []string `yaml:"signers" json:"signers"` // names of signers; waybill stands for the server itself, when it writes down a promotion
}

// Signed is what must be signed.
type Signed string

// What may have to be signed.
const (
	SignedEverything Signed = "everything"
	SignedTargets    Signed = "targets"
)

// OwnSigner is the name of the server itself among signers.
const OwnSigner = "waybill"

// Propose is how Waybill writes a promotion down in Git.
type Propose string

// The ways.
const (
	ProposeCommit Propose = "commit" // on the branch itself
	ProposeBranch Propose = "branch" // on a branch of its own, for a pull request
)

// Target says which release shall run in an environment. Where the estate is kept in Git, a new one is a promotion.
// kind: Target.
type Target struct {
	Environment string `yaml:"environment" json:"environment"`
	Release     string `yaml:"release" json:"release"`     // digest, sha256:…
	Name        string `yaml:"name" json:"name,omitempty"` // what people call the release; for readers

	file string
}

// File is where the target stands, relative to the estate's folder.
func (t Target) File() string { return t.file }

// Target returns what shall run in an environment; false where the estate says nothing of it.
func (e *Estate) Target(environment string) (Target, bool) {
	for _, t := range e.Targets {
		if t.Environment == environment {
			return t, true
		}
	}
	return Target{}, false
}
