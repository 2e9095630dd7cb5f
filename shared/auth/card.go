package auth

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Who may read the agent card: the values of card in the access file.
const (
	cardPublic = "public" // everybody, the default
	cardKnown  = "known"  // callers with credentials
	cardNone   = "none"   // nobody: clients are given it in another way
)

// card checks who may read the card.
func (c *checker) card(f *file) {
	switch f.Card {
	case "", cardPublic, cardKnown, cardNone:
	default:
		c.Failf("card", "must be %s, %s or %s", cardPublic, cardKnown, cardNone)
	}
	for i, network := range f.CardFrom {
		at := fmt.Sprintf("cardFrom[%d]", i)
		c.required(at, network, "a network such as 10.0.0.0/8, or remove the entry", checkNetwork)
		c.once(at, "network", network, "stands here a second time: remove one")
	}
}

func checkNetwork(text string) string {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "must be a network such as 10.0.0.0/8 or 2001:db8::/32; a single address of IPv4 ends with /32"
	case p.Addr().Is6() && p.Bits() > 64:
		return "is less than the network of one customer, which is how IPv6 counts: end it with /64"
	case p != p.Masked():
		return "has bits behind its mask: write " + p.Masked().String()
	}
	return ""
}

// CardPublic reports whether the card is for everybody, so that shared caches may keep it. That of
// an agent for anonymous callers is.
func (a *Access) CardPublic() bool {
	if a.anonymous {
		return true
	}
	now := a.current()
	return (now.card == "" || now.card == cardPublic) && len(now.cardFrom) == 0
}

// Card decides whether the sender of r may read the card. Any error is a [*Refusal].
func (a *Access) Card(r *http.Request) error {
	if a.anonymous {
		return nil
	}
	now := a.current()
	if len(now.cardFrom) > 0 {
		from := ClientAddr(r, a.proxies)
		if !slices.ContainsFunc(now.cardFrom, func(p netip.Prefix) bool { return p.Contains(from.Addr()) }) {
			return noCard()
		}
	}

	switch now.card {
	case cardKnown:
		_, err := a.Identify(r)
		return err
	case cardNone:
		return noCard()
	}
	return nil
}

// noCard is the refusal of somebody who is not told whether there is a card.
func noCard() *Refusal {
	return &Refusal{Status: http.StatusNotFound, Reason: "the card is not for everybody", Message: "there is no card here"}
}

// MaySee reports whether the file gives a private skill to an owner. By default nobody has any.
func (a *Access) MaySee(owner, skill string) bool {
	if a.anonymous {
		return false
	}
	return slices.Contains(a.current().principals[owner].Skills, skill)
}

// networks are the networks of the file, which was checked.
func networks(list []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range list {
		if p, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			all = append(all, p)
		}
	}
	return all
}
