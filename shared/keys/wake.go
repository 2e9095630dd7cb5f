package keys

import (
	"crypto/hmac"
	"encoding/base64"
	"net/url"
	"strings"
	"time"
)

// WakePath begins the path of the URLs by which calls of tools are woken.
const WakePath = "/wake/"

// wakeSize is the length in bytes of the keys and signatures of wake URLs. Their 128 bits are
// not guessed.
const wakeSize = 16

// WakeKey is the key with which a worker signs the wake URLs of one life of a task: TASK/LIFE.
// It wakes the calls of that life and is good for nothing else, so a worker needs no ring.
func (r Ring) WakeKey(now time.Time, life string) string {
	return r.list()[r.list().current(now)].wakeKey(life)
}

// Wakes reports whether a key of the ring, be it an old one, made the signature for the call
// with a key TASK/LIFE/STEP.CALL. It takes the same time for every answer.
func (r Ring) Wakes(call, signature string) bool {
	return r.wakes(call[:max(0, strings.LastIndexByte(call, '/'))], call, signature)
}

// WakesItem is Wakes for a call of an item of a batch. An item has the life of its batch, and
// its calls are signed with the WakeKey of BATCH/LIFE.
func (r Ring) WakesItem(batch, call, signature string) bool {
	parts := strings.Split(call, "/")
	return len(parts) == 3 && r.wakes(batch+"/"+parts[1], call, signature)
}

func (r Ring) wakes(life, call, signature string) bool {
	good := false
	for _, e := range r.list() {
		if hmac.Equal([]byte(wakeSignature(e.wakeKey(life), call)), []byte(signature)) {
			good = true
		}
	}
	return good
}

// WakeURL is the URL that wakes the call with a key TASK/LIFE/STEP.CALL, below the public
// address of the agent. wakeKey is the WakeKey of TASK/LIFE.
func WakeURL(base, wakeKey, call string) string {
	return strings.TrimSuffix(base, "/") + WakePath + call + "?s=" + url.QueryEscape(wakeSignature(wakeKey, call))
}

func (e entry) wakeKey(life string) string {
	return base64.RawURLEncoding.EncodeToString(mac(e.wakes, life)[:wakeSize])
}

func wakeSignature(wakeKey, call string) string {
	return base64.RawURLEncoding.EncodeToString(mac([]byte(wakeKey), call)[:wakeSize])
}
