// Package page writes and reads the tokens with which clients ask for the next page of a
// list. It knows no list: which tasks are in it, and in which order, is the store's.
package page

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"errand/shared/task"
)

// A Token says where the next page begins. It needs no signature: a query never reaches
// beyond its owner, so a made-up token shows a caller nothing but tasks of its own.
type Token struct {
	At int64  `json:"a"` // Unix milliseconds, and
	ID string `json:"i"` // the id, of the last task of the page before

	// Total is how many tasks the list had at its first page, where they are counted.
	// Nil: the list has no total, or an older version of Errand wrote the token.
	Total *int `json:"n,omitempty"`

	// List is a hash of the owner and the filters of the list. Empty: the list has no filters.
	List string `json:"l,omitempty"`
}

// After is the token of the page that begins after r.
func After(r task.Record) Token { return Token{At: r.Stamp().UnixMilli(), ID: r.ID()} }

// Ref is the place of the token in the list.
func (t Token) Ref() task.Ref { return task.Ref{At: time.UnixMilli(t.At).UTC(), ID: t.ID} }

// String is the token as clients send it back.
func (t Token) String() string {
	text, err := json.Marshal(t)
	if err != nil { // numbers and strings always encode
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Parse reads a token of a list. Only what String writes is one.
func Parse(s, list string) (Token, error) {
	var t Token
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	year := t.Ref().At.Year()
	switch {
	case err != nil:
		return Token{}, err
	case t.String() != s, t.ID == "", year < 1, year > 9999, t.Total != nil && *t.Total < 0: // Firestore keeps no other years
		return Token{}, errors.New("not a page token")
	case t.List != list:
		return Token{}, errors.New("page token of another list")
	}
	return t, nil
}
