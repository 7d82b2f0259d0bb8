package check

import (
	"bytes"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
)

// secretRule is one shape of a secret. A fine library of such rules (gitleaks) would bring some
// eighty modules along, and takes seconds where these few take milliseconds: each looks only at
// what follows one of its keywords.
type secretRule struct {
	what     string
	keywords []string
	shape    *regexp.Regexp // from the keyword on
	severity Severity
	guess    bool // the first group must look random
}

func shape(expression string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + expression + `)`) }

var secretRules = []secretRule{
	{what: "a private key", keywords: []string{"-----BEGIN "}, severity: Error,
		shape: shape(`-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----(?:\\[nr]|[\s"'+\\])*(?:[A-Za-z-]+: [^\n]*\n\s*)*[A-Za-z0-9+/]{40}`)},
	{what: "an access key of AWS", keywords: []string{"AKIA", "ASIA"}, shape: shape(`A[KS]IA[A-Z2-7]{16}\b`), severity: Error},
	{what: "a token of GitHub", keywords: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, shape: shape(`gh[pousr]_[A-Za-z0-9]{36}\b`), severity: Error},
	{what: "a token of GitHub", keywords: []string{"github_pat_"}, shape: shape(`github_pat_[A-Za-z0-9_]{60,90}\b`), severity: Error},
	{what: "a token of GitLab", keywords: []string{"glpat-"}, shape: shape(`glpat-[A-Za-z0-9_-]{20,}`), severity: Error},
	{what: "a token of Slack", keywords: []string{"xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-"}, shape: shape(`xox[abeprs]-[0-9]{8,}-[A-Za-z0-9-]{12,}`), severity: Error},
	{what: "a webhook of Slack", keywords: []string{"hooks.slack.com"}, shape: shape(`hooks\.slack\.com/services/T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{20,}`), severity: Error},
	{what: "a live key of Stripe", keywords: []string{"sk_live_", "rk_live_"}, shape: shape(`[sr]k_live_[A-Za-z0-9]{16,}`), severity: Error},
	{what: "a key of SendGrid", keywords: []string{"SG."}, shape: shape(`SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b`), severity: Error},
	{what: "a token of npm", keywords: []string{"npm_"}, shape: shape(`npm_[A-Za-z0-9]{36}\b`), severity: Error},
	{what: "a token of PyPI", keywords: []string{"pypi-AgEI"}, shape: shape(`pypi-AgEI[A-Za-z0-9_-]{50,}`), severity: Error},
	{what: "a token of DigitalOcean", keywords: []string{"dop_v1_"}, shape: shape(`dop_v1_[a-f0-9]{64}\b`), severity: Error},
	{what: "a key of an Azure storage account", keywords: []string{"AccountKey="}, shape: shape(`AccountKey=[A-Za-z0-9+/]{86}==`), severity: Error},
	{what: "a secret key of age", keywords: []string{"AGE-SECRET-KEY-1"}, shape: shape(`AGE-SECRET-KEY-1[0-9A-Z]{58}\b`), severity: Error},
	{what: "a key of Google's interfaces", keywords: []string{"AIza"}, shape: shape(`AIza[A-Za-z0-9_-]{35}\b`), severity: Warning},
	{what: "a password in a URL", keywords: []string{"://"}, shape: shape(`://[A-Za-z0-9._~-]{1,64}:([A-Za-z0-9._~!*+,;=-]{6,64})@[A-Za-z0-9-]`), severity: Warning, guess: true},
}

// settings are the files in which a name with a value means something.
var settings = []string{".py", ".json", ".yml", ".yaml", ".conf", ".cfg", ".ini", ".env", ".toml", ".properties", ".sh"}

// passwordRule guesses by names; in files of settings only, and never above a warning.
var passwordRule = secretRule{
	what: "what looks like a password", severity: Warning, guess: true,
	keywords: []string{"password", "passwd", "secret", "api_key", "apikey", "access_key", "auth_token", "access_token"},
	shape:    shape(`(?i)[a-z_]{6,16}["']?\s{0,4}[=:]\s{0,4}["']([^"'\s]{10,128})["']`),
}

// placeholder matches what stands where a secret would.
var placeholder = regexp.MustCompile(`(?i)example|sample|dummy|change.?me|placeholder|your[-_]|xxxx|\*\*\*|test|demo|foobar|1234567|abcdef|[<>{}$%]`)

var secretExtensions = []string{
	".py", ".xml", ".csv", ".json", ".yml", ".yaml", ".conf", ".cfg", ".ini", ".env", ".toml", ".properties",
	".txt", ".md", ".rst", ".sh", ".js", ".ts", ".html", ".sql", ".pem", ".key", ".ppk",
}

// mayHoldSecret says whether a file of that name is looked through.
func mayHoldSecret(name string) bool {
	base := path.Base(name)
	if strings.HasSuffix(base, ".min.js") {
		return false
	}
	return slices.Contains(secretExtensions, path.Ext(base)) ||
		slices.Contains([]string{".env", ".netrc", ".npmrc", ".pypirc", ".pgpass", "id_rsa", "id_ecdsa", "id_ed25519"}, base)
}

var secretInSource = Check{
	ID:       "secret-in-source",
	Severity: Error,
	Why:      "What is in a repository or an image is no secret any more; who can read either has it.",
	Find: func(in *Input) []Finding {
		return in.eachModule(secretsIn)
	},
}

// secretsIn looks through the files of one module.
func secretsIn(m *Module) (found []Finding) {
	for _, f := range m.Files {
		if f.Content == nil || !mayHoldSecret(f.Path) {
			continue
		}
		lines := map[int]bool{}
		take := func(rule secretRule, content []byte) {
			for _, at := range rule.matches(f.Content, content) {
				line := bytes.Count(f.Content[:at], []byte("\n")) + 1
				if lines[line] {
					continue
				}
				lines[line] = true
				finding := m.at(f.Path, line, "revoke it, take it out, and give it to Odoo from outside of the image", "it holds %s", rule.what)
				finding.Severity = rule.severity
				if isTest(m, f) { // made for the test, as a rule
					if rule.guess {
						continue
					}
					finding.Severity = Warning
				}
				found = append(found, finding)
			}
		}
		for _, rule := range secretRules {
			take(rule, f.Content)
		}
		if slices.Contains(settings, path.Ext(f.Path)) {
			take(passwordRule, lower(f.Content))
		}
	}
	return found
}

func isTest(m *Module, f *File) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(path.Dir(f.Path), m.Folder), "/") {
		if part == "tests" || part == "test" || part == "demo" {
			return true
		}
	}
	return strings.HasPrefix(m.Name, "test_") || strings.HasPrefix(path.Base(f.Path), "test_")
}

// maxSecrets bounds what one file is reported for by one rule.
const maxSecrets = 20

// maxSecret is how far behind its keyword a secret is looked for.
const maxSecret = 2000 // bytes

// matches finds the rule's keywords in one form of a text, and its shape in the text itself.
func (r secretRule) matches(content, searched []byte) (offsets []int) {
	for _, keyword := range r.keywords {
		for from := 0; len(offsets) < maxSecrets; {
			i := bytes.Index(searched[from:], []byte(keyword))
			if i < 0 {
				break
			}
			at := from + i
			from = at + len(keyword)
			if at > 0 && !r.guess && isWord(content[at-1]) {
				continue
			}
			match := r.shape.FindSubmatch(content[at:min(at+maxSecret, len(content))])
			if match == nil || bytes.HasSuffix(match[0], []byte("EXAMPLE")) || r.guess && !looksRandom(string(match[1])) {
				continue
			}
			offsets = append(offsets, at)
		}
	}
	return offsets
}

// lower changes ASCII letters only, so that offsets stay what they are.
func lower(text []byte) []byte {
	small := bytes.Clone(text)
	for i, c := range small {
		if c >= 'A' && c <= 'Z' {
			small[i] = c + 'a' - 'A'
		}
	}
	return small
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// hexadecimal matches digests and keys of 128 bits and more.
var hexadecimal = regexp.MustCompile(`^[0-9a-fA-F]{32,}$`)

// looksRandom tells a password from words and names: small and large letters and digits, and many
// different ones.
func looksRandom(value string) bool {
	if placeholder.MatchString(value) {
		return false
	}
	var small, large, digit bool
	counts := map[rune]int{}
	n := 0
	for _, r := range value {
		small = small || r >= 'a' && r <= 'z'
		large = large || r >= 'A' && r <= 'Z'
		digit = digit || r >= '0' && r <= '9'
		counts[r]++
		n++
	}
	entropy := 0.0 // bits for each character
	for _, c := range counts {
		p := float64(c) / float64(n)
		entropy -= p * math.Log2(p)
	}
	return entropy >= 3 && (small && large && digit || hexadecimal.MatchString(value))
}
