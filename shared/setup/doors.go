package setup

import (
	"log/slog"
	"net/http"

	"errand/shared/auth"
)

// Doors guard the endpoints that a queue, a bus or a schedule calls.
type Doors struct {
	base    string // URL of the program
	invoker string // e-mail of the account that calls
	issuer  string
	checked bool // by Cloud Run
	keys    *auth.Keys
	log     *slog.Logger
}

// doors makes the doors of the program at base.
func (o *opening) doors(base string) Doors {
	issuer, url := auth.GoogleIssuer, auth.GoogleKeys
	if o.env.Issuer != "" && o.env.Issuer != issuer {
		issuer, url = o.env.Issuer, "" // its own configuration names the URL of its keys
	}
	return Doors{base, o.env.Invoker, issuer, o.env.Checked(), auth.NewKeys(auth.KeysConfig{Issuer: issuer, URL: url}), o.log}
}

// Mount serves each handler at its path, by POST. A door lets in the invoker's tokens for
// that very path, and nothing else.
func (d Doors) Mount(handlers map[string]http.Handler) (http.Handler, error) {
	mux := http.NewServeMux()
	for path, h := range handlers {
		door, err := auth.NewDoor(auth.DoorConfig{Issuer: d.issuer, Audience: d.base + path, Emails: []string{d.invoker}, Checked: d.checked, Keys: d.keys, Log: d.log})
		if err != nil {
			return nil, err
		}
		mux.Handle("POST "+path, door(h))
	}
	return mux, nil
}
