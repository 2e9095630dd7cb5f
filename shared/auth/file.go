package auth

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"errand/shared/objects"
	"errand/shared/strict"
)

// A file is the access file as written.
type file struct {
	Principals []filePrincipal `yaml:"principals"`
	Issuers    []fileIssuer    `yaml:"issuers"`
	Limits     fileLimits      `yaml:"limits"` // of each caller
	Submit     []fileSubmit    `yaml:"submit"`
	Card       string          `yaml:"card"`     // who may read the card
	CardFrom   []string        `yaml:"cardFrom"` // the networks from which it may be read; none: all
	Catalogue  *fileCatalogue  `yaml:"catalogue"`
}

// A fileScope is what a client may ask for in a token.
type fileScope struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
}

type filePrincipal struct {
	Name         string      `yaml:"name"`
	Operator     bool        `yaml:"operator"`
	Keys         []fileKey   `yaml:"keys"`
	Tokens       []fileToken `yaml:"tokens"`
	Limits       fileLimits  `yaml:"limits"`
	IDTokens     []string    `yaml:"idTokens"`      // the origins that its webhooks may carry ID tokens to
	Buckets      []string    `yaml:"buckets"`       // the beginnings of the objects' addresses that it may read
	Certificates []string    `yaml:"certificates"`  // names of certificates of clients
	Skills       []string    `yaml:"privateSkills"` // the ids of the private skills that its card has
	Catalogue    []string    `yaml:"catalogue"`     // what it is in the catalogue of agents
}

// A fileSubmit says whose tasks the messages of a subscription are.
type fileSubmit struct {
	Subscription string `yaml:"subscription"` // projects/PROJECT/subscriptions/NAME
	Principal    string `yaml:"principal"`    // the name of a principal
}

// A fileKey is an API key. Its hash alone stands for a key with all rights and without end.
type fileKey struct {
	Hash    string   `yaml:"hash" strict:"short"`
	Expires string   `yaml:"expires"` // a date, which is its last day, or a time
	May     []string `yaml:"may"`     // its rights; absent: all
}

type fileToken struct {
	Issuer  string `yaml:"issuer"` // the name of an issuer
	Email   string `yaml:"email"`
	Subject string `yaml:"subject"`
}

type fileIssuer struct {
	Name      string     `yaml:"name"`
	URL       string     `yaml:"issuer"`
	Audiences []string   `yaml:"audiences"`
	KeysURL   string     `yaml:"keysUrl"`
	Everyone  bool       `yaml:"everyone"`
	OAuth     *fileOAuth `yaml:"oauth"` // how clients get its tokens; nil: the card names its discovery document
}

// A fileOAuth says how clients get tokens of an issuer. It is for the card alone.
type fileOAuth struct {
	Flow                   string      `yaml:"flow"`
	TokenURL               string      `yaml:"tokenUrl"`
	AuthorizationURL       string      `yaml:"authorizationUrl"`
	DeviceAuthorizationURL string      `yaml:"deviceAuthorizationUrl"`
	Scopes                 []fileScope `yaml:"scopes"`
}

// form is the form of an access file, with room for some thousand principals.
var form = strict.Options{
	Size:  1 << 20,
	Large: "let in the principals of an issuer of your own together, with everyone: true",
	Empty: "name the principals who may call under principals",
	Secret: func(text string) string {
		if strings.HasPrefix(text, keyPrefix) {
			return "is a key, which anybody who reads this file could use: make a new one and put its hash here"
		}
		return ""
	},
}

// parse reads an access file, and returns only files that are consistent. The error lists
// every fault, each with its line, its field and the remedy.
func parse(data []byte) (*file, error) {
	f := &file{}
	doc, err := strict.Read(data, f, form)
	if err != nil {
		return nil, err
	}
	c := &checker{File: doc, issuers: map[string]*fileIssuer{}, submits: map[string]bool{}, seen: map[string]bool{}}
	c.check(f)
	return f, doc.Err()
}

// A checker checks the fields of an access file, and the agreement between them.
type checker struct {
	*strict.File
	issuers map[string]*fileIssuer // by name
	submits map[string]bool        // principals to whom subscriptions belong
	seen    map[string]bool        // values that must not come twice, each with its kind
}

func (c *checker) check(f *file) {
	if len(f.Principals)+len(f.Issuers) == 0 {
		c.Failf("principals", "nobody may call: name at least one")
	}

	c.limits("limits", f.Limits)
	c.card(f)
	c.catalogue(f)
	for i := range f.Issuers {
		c.issuer(fmt.Sprintf("issuers[%d]", i), &f.Issuers[i])
	}

	for i, s := range f.Submit {
		c.submit(fmt.Sprintf("submit[%d]", i), s, f.Principals)
	}

	used := map[string]bool{}
	for i, p := range f.Principals {
		c.principal(fmt.Sprintf("principals[%d]", i), p)
		for _, t := range p.Tokens {
			used[t.Issuer] = true
		}
	}

	for i, issuer := range f.Issuers {
		if !issuer.Everyone && !used[issuer.Name] {
			c.Failf(fmt.Sprintf("issuers[%d]", i), "nobody is let in by it: refer to it under a principal's tokens, or set everyone: true")
		}
	}
}

func (c *checker) issuer(path string, i *fileIssuer) {
	c.required(path+".name", i.Name, "a short word by which principals refer to it", checkIssuerName)
	c.once(path+".name", "issuer's name", i.Name, "is the name of another issuer: choose another")
	c.required(path+".issuer", i.URL, "the iss of its tokens, to the letter", checkAddress)
	c.once(path+".issuer", "issuer", i.URL, "stands here a second time: list its audiences in one place")
	c.optional(path+".keysUrl", i.KeysURL, checkAddress)
	c.issuers[i.Name] = i

	if len(i.Audiences) == 0 {
		c.Failf(path+".audiences", "at least one is required: the aud that tokens for this agent have")
	}
	for k, audience := range i.Audiences {
		c.required(fmt.Sprintf("%s.audiences[%d]", path, k), audience, "an aud, or remove the entry", checkPlain)
	}

	if i.OAuth != nil {
		c.oauth(path+".oauth", i.OAuth)
	}
	if i.Everyone && i.URL == GoogleIssuer {
		c.Failf(path+".everyone", "would let in whoever has a Google account: name people and service accounts under principals")
	}
}

func (c *checker) principal(path string, p filePrincipal) {
	c.required(path+".name", p.Name, "it owns the principal's tasks, so never give it to another", checkName)
	c.once(path+".name", "principal", p.Name, "is the name of another principal: put their keys and tokens in one")
	tenant, _, _ := strings.Cut(p.Name, "/")
	if i := c.issuers[tenant]; i != nil && i.Everyone {
		c.Failf(path+".name", "may not begin with the name of an issuer of everyone, whose callers have such names: choose another")
	}

	if len(p.Keys)+len(p.Tokens)+len(p.Certificates) == 0 && !c.submits[p.Name] {
		c.Failf(path, "has neither keys nor tokens nor certificates: make a key, or remove the principal")
	}

	for k, key := range p.Keys {
		c.key(fmt.Sprintf("%s.keys[%d]", path, k), key)
	}

	for k, t := range p.Tokens {
		c.token(fmt.Sprintf("%s.tokens[%d]", path, k), t)
	}

	for k, name := range p.Certificates {
		at := fmt.Sprintf("%s.certificates[%d]", path, k)
		c.required(at, name, "the name of a certificate, or remove the entry", checkCertificate)
		c.once(at, "certificate", name, "stands in the file a second time: remove one")
	}

	c.limits(path+".limits", p.Limits)
	for k, origin := range p.IDTokens {
		c.required(fmt.Sprintf("%s.idTokens[%d]", path, k), origin, "an origin, or remove the entry", checkOrigin)
	}

	for k, prefix := range p.Buckets {
		at := fmt.Sprintf("%s.buckets[%d]", path, k)
		c.required(at, prefix, "a bucket such as gs://BUCKET/, or remove the entry", checkBucket)
		c.once(at, "bucket of "+path, prefix, "stands here a second time: remove one")
	}

	for k, id := range p.Skills {
		at := fmt.Sprintf("%s.privateSkills[%d]", path, k)
		c.required(at, id, "the id of a private skill of agent.yaml, or remove the entry", checkPlain)
		c.once(at, "skill of "+path, id, "stands here a second time: remove one")
	}

	c.inCatalogue(path, p)
}

func (c *checker) submit(path string, s fileSubmit, all []filePrincipal) {
	c.required(path+".subscription", s.Subscription, "the name of a subscription, projects/PROJECT/subscriptions/NAME", checkSubscription)
	c.once(path+".subscription", "subscription", s.Subscription, "stands in the file a second time: its messages belong to one principal")
	c.submits[s.Principal] = true

	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	switch best, distance := strict.Nearest(s.Principal, names, strings.ToLower); {
	case s.Principal == "":
		c.Failf(path+".principal", "is required: the name of the principal to whom the tasks belong")
	case slices.Contains(names, s.Principal):
	case distance <= slips:
		c.Failf(path+".principal", "is no principal of this file: did you mean %q?", best)
	default:
		c.Failf(path+".principal", "is no principal of this file: add it under principals")
	}
}

func (c *checker) key(path string, k fileKey) {
	at := path
	if c.Has(path+".hash") || c.Has(path+".expires") || c.Has(path+".may") {
		at += ".hash"
	}
	c.required(at, k.Hash, "the hash of a key, or remove the entry", checkHash)
	id, _, _ := parseHash(k.Hash)
	c.once(at, "key", id, "this key stands in the file a second time: remove one")

	c.optional(path+".expires", k.Expires, checkExpiry)
	if c.Has(path+".expires") && k.Expires == "" {
		c.Failf(path+".expires", "is empty: give a date, or leave it out for a key without end")
	}
	if c.Has(path+".may") && len(k.May) == 0 {
		c.Failf(path+".may", "gives no right, and the key would be of no use: list some, or leave it out for all")
	}
	for i, name := range k.May {
		c.required(fmt.Sprintf("%s.may[%d]", path, i), name, "a right, or remove the entry", checkRight)
		c.once(fmt.Sprintf("%s.may[%d]", path, i), "right of "+path, name, "stands here a second time: remove one")
	}
}

func (c *checker) token(path string, t fileToken) {
	c.optional(path+".email", t.Email, checkEmail)
	c.optional(path+".subject", t.Subject, checkPlain)
	if c.issuers[t.Issuer] == nil {
		c.Failf(path+".issuer", "is required: the name of one of the issuers")
	}
	if (t.Email == "") == (t.Subject == "") {
		c.Failf(path, "needs either an email or a subject")
	}
	c.once(path, "token", fmt.Sprintf("%q %q %q", t.Issuer, t.Email, t.Subject), "stands in the file a second time: remove one")
}

func (c *checker) required(path, value, remedy string, check func(string) string) {
	if value == "" {
		c.Failf(path, "is required: %s", remedy)
	}
	c.optional(path, value, check)
}

// optional notes the remedy that check returns for a value.
func (c *checker) optional(path, value string, check func(string) string) {
	if value == "" {
		return
	}
	if remedy := check(value); remedy != "" {
		c.Failf(path, "%s", remedy)
	}
}

// once notes the remedy for a value that has come before.
func (c *checker) once(path, kind, value, remedy string) {
	id := kind + " " + value
	if value != "" && c.seen[id] {
		c.Failf(path, "%s", remedy)
	}
	c.seen[id] = true
}

var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._@+-]{0,63})?$`)
	// https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
	subscriptionForm = regexp.MustCompile(`^projects/[A-Za-z0-9.:-]{1,100}/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

	originForm     = regexp.MustCompile(`^https://[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?$`)
	issuerNameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
)

func checkExpiry(s string) string {
	if _, ok := parseExpiry(s); !ok {
		return "must be a date such as 2027-01-31, the last day of the key, or a time such as 2027-01-31T18:00:00Z"
	}
	return ""
}

// parseExpiry returns the first moment at which a key is refused. A date is the key's last
// day, in UTC.
func parseExpiry(s string) (time.Time, bool) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, 1), true
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}

// IsName reports whether s has the form of a principal's name.
func IsName(s string) bool { return nameForm.MatchString(s) }

func checkName(s string) string {
	switch {
	case s == Anonymous:
		return "is what unidentified callers are called: choose another"
	case Reserved(tenantOf(s)):
		return "begins with the first segment of a path of the agent, which no tenant can have: choose another"
	case !IsName(s):
		return "must be a name such as alice or tenant/alice: letters, digits and . _ @ + -, at most 64 of them each"
	}
	return ""
}

func checkIssuerName(s string) string {
	if Reserved(s) {
		return "is the first segment of a path of the agent, and its callers would be of that tenant: choose another"
	}
	if s == bearerScheme || s == certificateScheme || !issuerNameForm.MatchString(s) {
		return "must be a short word in lower case such as google, and not " + bearerScheme + " or " + certificateScheme
	}
	return ""
}

func checkHash(s string) string {
	if !hashForm.MatchString(s) {
		return "must be the hash that was printed with the key, such as sha256:3k9x2b7q:..."
	}
	return ""
}

func checkEmail(s string) string {
	if !isEmail(s) {
		return "must be an e-mail address"
	}
	return ""
}

// checkOrigin wants the one spelling that webhooks are compared with.
func checkOrigin(s string) string {
	if !originForm.MatchString(s) || strings.HasSuffix(s, ":443") {
		return "must be an origin such as https://hooks.example.com: in lower case, without a path, and with a port only if it is not 443"
	}
	return ""
}

// checkBucket wants the beginning of objects' addresses.
func checkBucket(s string) string {
	if err := objects.CheckPrefix(s); err != nil {
		return err.Error()
	}
	return ""
}

func checkSubscription(s string) string {
	if !subscriptionForm.MatchString(s) {
		return "must be the full name of a subscription of Pub/Sub, projects/PROJECT/subscriptions/NAME"
	}
	return ""
}

func checkAddress(s string) string {
	if err := checkURL(s); err != nil {
		return err.Error()
	}
	return ""
}

// checkPlain also keeps quotes out of challenges.
func checkPlain(s string) string {
	if len(s) > maxName || strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII || c <= ' ' || c == '"' || c == '\\' || c == 0x7f }) {
		return "must be one word of plain characters, without quotes"
	}
	return ""
}
