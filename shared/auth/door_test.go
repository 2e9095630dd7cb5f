package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"errand/shared/auth"
)

const authorization = "Authorization"

// The numbers are those of a catalogue of requests to such doors. The libraries below this
// package let some of them in.
func TestInvokerTokens(t *testing.T) {
	w := newDoorWorld(t)
	c := w.clock
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a key set named by a token was fetched") }))
	defer trap.Close()
	bearer := func(changes ...func(*made)) []string {
		return []string{authorization, "Bearer " + w.idp.token(c, changes...)}
	}

	good := w.idp.token(c)
	ecKey := func(m *made) { m.header["alg"], m.header["kid"], m.key = "ES256", "ec-1", ours().ec }

	hmacWith := func(m *made) {
		public := x509.MarshalPKCS1PublicKey(&ours().rsa.PublicKey)
		m.header["alg"] = "HS256"
		m.key = func(text []byte) []byte {
			h := hmac.New(sha256.New, public)
			h.Write(text)
			return h.Sum(nil)
		}
	}

	foreignJWK := jwk("rsa-1", "RS256", &foreign().rsa.PublicKey)
	const in, no, notYou = http.StatusOK, http.StatusUnauthorized, http.StatusForbidden
	for _, row := range []struct {
		name    string
		want    int
		headers []string
	}{
		{"00 the good one", in, bearer()},
		{"00 the good one, ES256", in, bearer(ecKey)},
		{"00 a list of our audience alone", in, bearer(claim("aud", []string{audience}))},
		{"01 none", no, nil},
		{"02 Bearer empty", no, []string{authorization, "Bearer "}},
		{"02 Bearer without a space", no, []string{authorization, "Bearer"}},
		{"03 Basic", no, []string{authorization, "Basic " + good}},
		{"04 two Authorization headers", no, []string{authorization, "Bearer " + good, authorization, "Bearer " + good}},
		{"04 two tokens in one", no, []string{authorization, "Bearer " + good + ", Bearer " + good}},
		{"05 lower-case scheme", no, []string{authorization, "bearer " + good}},
		{"06 alg none", no, bearer(head("alg", "none"), signedBy(nil))},
		{"06 alg none, signed", no, bearer(head("alg", "none"))},
		{"07 HS256 keyed with the public key", no, bearer(hmacWith)},
		{"08 RS256 by a foreign key, known kid", no, bearer(signedBy(foreign().rsa))},
		{"08 ES256 by a foreign key, known kid", no, bearer(ecKey, signedBy(foreign().ec))},
		{"08 alg of another key", no, bearer(head("alg", "ES256"), signedBy(ours().ec))},
		{"09 unknown kid", no, bearer(head("kid", "rsa-9"))},
		{"10 no kid", no, bearer(head("kid", nil))},
		{"11 jku", no, bearer(head("jku", trap.URL), signedBy(foreign().rsa))},
		{"11 x5u", no, bearer(head("x5u", trap.URL), signedBy(foreign().rsa))},
		{"11 jwk", no, bearer(head("jwk", foreignJWK), signedBy(foreign().rsa))},
		{"11 jku and a good signature", no, bearer(head("jku", trap.URL))},
		{"12 crit unknown", no, bearer(head("crit", []string{"x"}), head("x", 1))},
		{"13 wrong iss", no, bearer(claim("iss", "https://evil.example.com"))},
		{"13 no iss", no, bearer(claim("iss", nil))},
		{"14 iss with https for http", no, bearer(claim("iss", strings.Replace(w.idp.URL, "http:", "https:", 1)))},
		{"14 iss with a slash", no, bearer(claim("iss", w.idp.URL+"/"))},
		{"15 wrong aud", no, bearer(claim("aud", "https://other.example.com"))},
		{"15 no aud", no, bearer(claim("aud", nil))},
		{"16 aud of another service of ours", no, bearer(claim("aud", "https://functions.example.com"))},
		{"17 aud list containing ours", no, bearer(claim("aud", []string{"https://other.example.com", audience}))},
		{"17 aud list with ours twice", no, bearer(claim("aud", []string{audience, audience}))},
		{"17 aud list, empty", no, bearer(claim("aud", []string{}))},
		{"18 aud with path", no, bearer(claim("aud", audience+"/turn"))},
		{"18 aud with slash", no, bearer(claim("aud", audience+"/"))},
		{"19 exp 1 s ago", no, bearer(claim("exp", c.in(-time.Second)))},
		{"19 exp now", no, bearer(claim("exp", c.in(0)))},
		{"19 exp missing", no, bearer(claim("exp", nil))},
		{"19 exp null", no, bearer(claim("exp", json.RawMessage("null")))},
		{"19 exp string", no, bearer(claim("exp", "2000000000"))},
		{"19 exp 1e400", no, bearer(claim("exp", 5), edit(`"exp":5`, `"exp":1e400`))},
		{"19 exp 1e300", no, bearer(claim("exp", 1e300))},
		{"19 exp in 100 years", no, bearer(claim("exp", c.in(100*365*24*time.Hour)))},
		{"19 exp after an hour and 61 s", no, bearer(claim("exp", c.in(time.Hour+61*time.Second)))},
		{"19 exp twice", no, bearer(edit(`"exp":`, `"exp":1,"exp":`))},
		{"20 nbf in 60 s", in, bearer(claim("nbf", c.in(time.Minute)))},
		{"20 nbf in 61 s", no, bearer(claim("nbf", c.in(61*time.Second)))},
		{"20 nbf in 4 min", no, bearer(claim("nbf", c.in(4*time.Minute)))},
		{"20 nbf in 6 min", no, bearer(claim("nbf", c.in(6*time.Minute)))},
		{"20 iat in 60 s", in, bearer(claim("iat", c.in(time.Minute)), claim("exp", c.in(61*time.Minute)))},
		{"21 iat in 61 s", no, bearer(claim("iat", c.in(61*time.Second)))},
		{"21 iat in a year", no, bearer(claim("iat", c.in(365*24*time.Hour)), claim("exp", c.in(366*24*time.Hour)))},
		{"21 iat missing", no, bearer(claim("iat", nil))},
		{"21 iat string", no, bearer(claim("iat", "1"))},
		{"22 e-mail missing", notYou, bearer(claim("email", nil))},
		{"22 e-mail of another service account", notYou, bearer(claim("email", "other@acme.iam.gserviceaccount.com"))},
		{"22 e-mail in capitals", notYou, bearer(claim("email", strings.ToUpper(invoker)))},
		{"22 email_verified false", notYou, bearer(claim("email_verified", false))},
		{"22 email_verified missing", notYou, bearer(claim("email_verified", nil))},
		{"22 email_verified a text", notYou, bearer(claim("email_verified", "true"))},
		{"22 EMAIL for email", notYou, bearer(claim("email", nil), claim("EMAIL", invoker))},
		{"23 anybody's Gmail account", notYou, bearer(claim("email", "somebody@gmail.com"))},
		{"24 access token", no, []string{authorization, "Bearer ya29.a0AfH6SMBx-opaque_access_token"}},
		{"24 access token in the form of a JWT", no, bearer(head("typ", "at+jwt"))},
		{"26 ES256 with a signature of 5 bytes", no, bearer(ecKey, signedBy(func([]byte) []byte { return []byte("short") }))},
		{"26 ES256 with no signature", no, bearer(ecKey, signedBy(nil))},
		{"27 aud empty", no, bearer(claim("aud", ""))},
		{"29 X-Serverless-Authorization beside it", no, append(bearer(), "X-Serverless-Authorization", "Bearer "+good)},
		{"29 X-Serverless-Authorization alone", no, []string{"X-Serverless-Authorization", "Bearer " + good}},
		{"29 signature removed by Cloud Run", no, []string{authorization, "Bearer " + good[:strings.LastIndex(good, ".")] + ".SIGNATURE_REMOVED_BY_GOOGLE"}},
		{"30 forged headers", no, []string{
			"X-CloudTasks-QueueName", "q", "X-CloudTasks-TaskName", "t", "X-CloudTasks-TaskRetryCount", "0", "X-AppEngine-QueueName", "q",
			"X-CloudScheduler", "true", "X-Forwarded-For", "127.0.0.1", "X-Forwarded-Email", invoker, "X-Goog-Authenticated-User-Email", invoker,
			"X-Goog-IAP-JWT-Assertion", good, "X-Endpoint-API-UserInfo", "e30",
		}},
		{"30 token elsewhere", no, []string{"Proxy-Authorization", "Bearer " + good, "Cookie", "token=" + good}},
		{"31 gRPC metadata", no, []string{"Grpc-Metadata-Authorization", "Bearer " + good, "Authorization-Bin", b64([]byte("Bearer " + good))}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w.door, w.let = w.newDoor(t, audience), 0 // a new one logs again
			before := len(w.log.String())
			res := w.knock(row.headers...)
			if res.StatusCode != row.want {
				t.Errorf("answered %d, want %d", res.StatusCode, row.want)
			}
			if (w.let == 1) != (row.want == in) {
				t.Errorf("%d requests came through", w.let)
			}

			body, _ := io.ReadAll(res.Body)
			if len(body) > 100 {
				t.Errorf("the body has %d bytes", len(body))
			}
			if (res.Header.Get("WWW-Authenticate") != "") != (row.want == no) {
				t.Errorf("WWW-Authenticate is %q", res.Header.Get("WWW-Authenticate"))
			}

			log := w.log.String()[before:]
			if n := strings.Count(log, `"level":"WARN"`); (n == 1) != (row.want != in) || n > 1 {
				t.Errorf("logged %d times: %s", n, log)
			}

			for i := 1; i < len(row.headers); i += 2 {
				if v := strings.TrimPrefix(row.headers[i], "Bearer "); len(v) > 20 && strings.Contains(log, v[:20]) {
					t.Errorf("the log has the token: %s", log)
				}
			}
		})
	}
}

func TestInvokerTokenOfAnotherEndpoint(t *testing.T) { // 25
	w := newDoorWorld(t)
	captured := w.idp.token(w.clock)
	if res := w.knock(authorization, "Bearer "+captured); res.StatusCode != http.StatusOK {
		t.Fatalf("where it belongs: %s", res.Status)
	}
	w.door = w.newDoor(t, audience+"/notify")
	if res := w.knock(authorization, "Bearer "+captured); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("at another endpoint: %s", res.Status)
	}
}

func TestDoorLogsOnceAndNotForEver(t *testing.T) {
	w := newDoorWorld(t)
	w.knock(authorization, "Bearer "+w.idp.token(w.clock, claim("email", "other@acme.example")))
	log := w.log.String()
	var line struct{ Level, Msg, Path, Reason, Audience string }
	if err := json.Unmarshal([]byte(log), &line); err != nil {
		t.Fatalf("not one line: %s", log)
	}
	if line.Level != "WARN" || line.Path != "/turn" || line.Audience != audience || !strings.Contains(line.Reason, "service account") {
		t.Errorf("logged %s", log)
	}
	for range 1000 {
		w.knock()
	}
	if n := strings.Count(w.log.String(), "\n"); n > 10 {
		t.Errorf("1000 strangers at once made %d lines", n)
	}
}

func TestDoorIsNotMadeHalf(t *testing.T) {
	good := auth.DoorConfig{
		Issuer: auth.GoogleIssuer, Audience: audience, Emails: []string{invoker}, Log: slog.New(slog.DiscardHandler),
		Keys: auth.NewKeys(auth.KeysConfig{Issuer: auth.GoogleIssuer, URL: auth.GoogleKeys}),
	}
	if _, err := auth.NewDoor(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*auth.DoorConfig){
		"issuer":   func(c *auth.DoorConfig) { c.Issuer = "" },
		"http":     func(c *auth.DoorConfig) { c.Issuer = "http://accounts.google.com" },
		"audience": func(c *auth.DoorConfig) { c.Audience = "" },
		"emails":   func(c *auth.DoorConfig) { c.Emails = nil },
		"no email": func(c *auth.DoorConfig) { c.Emails = []string{""} },
		"keys":     func(c *auth.DoorConfig) { c.Keys = nil },
		"log":      func(c *auth.DoorConfig) { c.Log = nil },
	} {
		c := good
		spoil(&c)
		if _, err := auth.NewDoor(c); err == nil {
			t.Errorf("a door without %s was made", name)
		}
	}
}
