package agent

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// advice says what to write instead of an unknown key. It never repeats the
// value that stood beside the key: it may be a secret.
func advice(key string, known []string) string {
	plain := simplify(key)
	for _, word := range []string{"secret", "password", "apikey", "credential"} {
		if strings.Contains(plain, word) {
			return "the definition holds no secrets: set them in the environment, for example GEMINI_API_KEY"
		}
	}
	best, distance := "", 3 // two slips of the finger; more is another word
	for _, name := range known {
		if d := levenshtein.ComputeDistance(plain, simplify(name)); d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// simplify removes what differs between spellings of one word.
func simplify(key string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(clip(key)))
}

// clip shortens a text of the file for an error message.
func clip(s string) string {
	const most = 64
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "..."
}
