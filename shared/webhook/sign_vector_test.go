package webhook

import "testing"

// The values come from the test of the reference library. Its secret is shorter than ours.
func TestSignHMACOfTheReference(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	got, err := signHMAC("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", []byte(`msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}`))
	if err != nil || got != want {
		t.Errorf("signHMAC = %s, %v, want %s", got, err, want)
	}
}

// A secret that is too short or not in base64 is refused.
func TestSignHMACRefusesWeakSecrets(t *testing.T) {
	for _, s := range []string{"", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", "whsec_not base64"} {
		if got, err := signHMAC(s, nil); err == nil {
			t.Errorf("signHMAC(%q) = %s, want an error", s, got)
		}
	}
}
