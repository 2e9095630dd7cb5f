package agent

import "strings"

// noSecrets is the advice for a key that looks like one of a secret.
func noSecrets(key string) string {
	plain := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(key))
	for _, word := range []string{"secret", "password", "apikey", "credential"} {
		if strings.Contains(plain, word) {
			return "the definition holds no secrets: set them in the environment, for example GEMINI_API_KEY"
		}
	}
	return ""
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
