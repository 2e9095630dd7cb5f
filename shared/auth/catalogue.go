package auth

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"errand/shared/keys"
)

// Values of the catalogue's section, and of catalogue under a principal.
const (
	catalogueNothing = "nothing" // what callers without credentials see, the default
	cataloguePublic  = "public"  // they see the public agents, and less of each
	catalogueSigned  = "signed"  // cards must be signed by a key of trust

	catalogueRegister = "register" // may register agents, and withdraw its own
	cataloguePartner  = "partner"  // sees the agents for partners too
	catalogueAdmin    = "admin"    // sees and withdraws all
)

// A fileCatalogue turns the catalogue on.
type fileCatalogue struct {
	Strangers string      `yaml:"strangers"` // what callers without credentials see
	Require   string      `yaml:"require"`
	Trust     []fileTrust `yaml:"trust"`
}

// A fileTrust are keys by which cards are signed.
type fileTrust struct {
	Host string `yaml:"host"` // of the cards; empty: of any host
	JWKS string `yaml:"jwks"` // a JSON Web Key Set of public keys, as text
}

// catalogue checks the section about the catalogue.
func (c *checker) catalogue(f *file) {
	if f.Catalogue == nil {
		if c.Has("catalogue") {
			c.Failf("catalogue", "is empty: write {} for a catalogue as it is by default, or remove it")
		}
		return
	}

	oneOf := func(at, value string, all ...string) {
		if value != "" && !slices.Contains(all, value) {
			c.Failf(at, "must be %s", strings.Join(all, " or "))
		}
	}
	oneOf("catalogue.strangers", f.Catalogue.Strangers, catalogueNothing, cataloguePublic)
	oneOf("catalogue.require", f.Catalogue.Require, catalogueSigned)
	for i, t := range f.Catalogue.Trust {
		at := fmt.Sprintf("catalogue.trust[%d]", i)
		c.optional(at+".host", t.Host, checkHost)
		c.required(at+".jwks", t.JWKS, "the keys that the agent serves at /.well-known/jwks.json", checkJWKS)
	}
	if f.Catalogue.Require != "" && len(f.Catalogue.Trust) == 0 {
		c.Failf("catalogue.require", "lets no card in without keys: list some under catalogue.trust")
	}
}

// inCatalogue checks what a principal may do in the catalogue.
func (c *checker) inCatalogue(path string, p filePrincipal) {
	for i, word := range p.Catalogue {
		at := fmt.Sprintf("%s.catalogue[%d]", path, i)
		c.required(at, word, "register, partner or admin, or remove the entry", func(s string) string {
			if !slices.Contains([]string{catalogueRegister, cataloguePartner, catalogueAdmin}, s) {
				return "must be register, partner or admin"
			}
			return ""
		})
		c.once(at, "catalogue of "+path, word, "stands here a second time: remove one")
	}
}

var hostForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?$`)

func checkHost(s string) string {
	if !hostForm.MatchString(s) || strings.HasSuffix(s, ":443") {
		return "must be a host such as agents.example.com: in lower case, and with a port only if it is not 443"
	}
	return ""
}

func checkJWKS(text string) string {
	if _, err := keys.ParsePublic([]byte(text)); err != nil {
		return err.Error()
	}
	return ""
}

// A Catalogue is what the access file says about the catalogue of agents.
type Catalogue struct {
	On     bool // there is one
	Public bool // callers without credentials see the public agents
	Signed bool // every card must be signed by a key that is trusted for its host

	hosts map[string]jose.JSONWebKeySet
	all   jose.JSONWebKeySet
}

// Keys are the keys by which the card of a host may be signed. own reports whether the file gives
// the host keys of its own: then no other card of it is genuine.
func (c Catalogue) Keys(host string) (set jose.JSONWebKeySet, own bool) {
	if set, own = c.hosts[strings.ToLower(host)]; own {
		return set, true
	}
	return c.all, false
}

// catalogueOf makes the catalogue of a file, which was checked.
func catalogueOf(f *fileCatalogue) Catalogue {
	if f == nil {
		return Catalogue{}
	}
	c := Catalogue{On: true, Public: f.Strangers == cataloguePublic, Signed: f.Require == catalogueSigned, hosts: map[string]jose.JSONWebKeySet{}}
	for _, t := range f.Trust {
		set, err := keys.ParsePublic([]byte(t.JWKS))
		switch {
		case err != nil: // the check has refused it
		case t.Host == "":
			c.all.Keys = append(c.all.Keys, set.Keys...)
		default:
			of := c.hosts[t.Host]
			of.Keys = append(of.Keys, set.Keys...)
			c.hosts[t.Host] = of
		}
	}
	return c
}

// Catalogue is what the file says about the catalogue, by its last reading.
func (a *Access) Catalogue() Catalogue {
	if a.anonymous {
		return Catalogue{}
	}
	return a.latest().catalogue
}

// A Part is what a caller is in the catalogue. The zero value has no credentials.
type Part struct {
	Known, Register, Partner, Admin bool
}

// Part is what an owner is in the catalogue.
func (a *Access) Part(owner string) Part {
	if a.anonymous || owner == Anonymous {
		return Part{}
	}
	words := a.latest().principals[owner].Catalogue
	has := func(word string) bool { return slices.Contains(words, word) }
	return Part{Known: true, Register: has(catalogueRegister), Partner: has(cataloguePartner), Admin: has(catalogueAdmin)}
}

// Visit identifies the sender of a request to the catalogue, as [Access.Identify] does. If the file
// lets callers without credentials see something, they are let in as [Anonymous]. All of these share one
// limit of requests.
func (a *Access) Visit(r *http.Request) (Principal, error) {
	p, err := a.Identify(r)
	no, refused := err.(*Refusal)
	if !refused || no.presented || no.Status != http.StatusUnauthorized || !a.Catalogue().Public {
		return p, err
	}
	p = Principal{Owner: Anonymous, Via: Anonymous}
	return p, a.rates.take(p.Owner, a.latest().limitsOf(p.Owner).Requests, a.now())
}
